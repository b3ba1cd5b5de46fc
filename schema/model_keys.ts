/**
 * The rules for a model's keys: text templates that identify the item's owner, whose fields fit into a key, and by which a
 * snapshot can list the items.
 *
 * @module
 */
import type { ModelContext } from "./compile_context.ts";
import type { IdentityNames, IdentityRole } from "./identity.ts";
import type { KeyIdentity } from "./key_identity.ts";
import { attributeTemplate, type TemplateContext } from "./keys.ts";
import type { Field, Scope, SyncDirection } from "./model.ts";
import type { Process } from "./process.ts";
import type { Template } from "./template.ts";

/** Refuses keys that could be read as another device's or account's: a key must identify the item's owner. */
export function checkTold(
  { locators, separators }: KeyIdentity,
  scope: Scope,
  names: IdentityNames,
  process: Process,
  report: (text: string) => void,
  warn: (text: string) => void,
): void {
  if (scope === "global" || process.sync === "none") return;
  const role = scope === "device" ? "deviceId" : "accountId";
  if (!locators[role]) {
    report(
      `its key does not tell where \${${
        names[role]
      }} begins and ends, so that two ${scope}s could make one key: put a ` +
        `literal as "#" between it and what stands next to it`,
    );
  } else if (separators !== "") {
    warn(
      `its key separates ids by ${
        [...separators].map((c) => JSON.stringify(c)).join(" and ")
      }, which ids may have: an id ` +
        `that has one is refused in this schema. "#" is safe`,
    );
  }
}

/** Why a model can't come down, with the index to paste that would list it. */
export function notEnumerable(
  scope: Scope,
  sync: SyncDirection,
  templates: TemplateContext,
  names: IdentityNames,
  { primary, indexes }: ModelContext,
): string {
  const device = `\${${names.deviceId}}`, account = `\${${names.accountId}}`;
  const allowed = scope === "device"
    ? `nothing but ${device} and ${account}`
    : scope === "account"
    ? `nothing but ${account}`
    : "no field";
  const own = scope === "device" ? `#${device}` : scope === "account" ? `#${account}` : "";
  // An index that no field of this model is in already, or a new one.
  const free = indexes.find(({ hash, sort }) =>
    sort !== undefined && hash !== primary.hash && !attributeTemplate(hash, templates) &&
    !attributeTemplate(sort, templates)
  );
  const unused = Array.from({ length: 20 }, (_, i) => `gs${i + 1}`).find((n) =>
    !indexes.some(({ name }) => name === n)
  )!;
  const index = free ?? { name: unused, hash: `${unused}pk`, sort: `${unused}sk` };
  const key = [primary.hash, primary.sort].map((attribute) =>
    attribute === undefined ? "" : attributeTemplate(attribute, templates)?.template.text ?? ""
  ).filter((text) => text !== "").join("#");
  const field = (value: string) => JSON.stringify({ type: "string", value });
  const fields = `"${index.hash}": ${field(`${templates.model}${own}`)}, "${index.sort}": ${field(key)}`;
  const added = free ? "" : `"indexes": {"${index.name}": {"hash": "${index.hash}", "sort": "${index.sort}"}} and `;
  return `it can't be listed for a snapshot, which "sync": "${sync}" needs: the hash template of its primary key, or of a ` +
    `secondary index that every item is in, must name ${allowed}. This would do: ${added}in the model ${fields}`;
}

/** The template of a primary key's attribute; undefined, and reported, if there is no usable one. */
export function keyOfIndex(
  role: "hash" | "sort",
  attribute: string,
  context: TemplateContext,
  report: (text: string) => void,
): { readonly attribute: string; readonly template: Template } | undefined {
  const found = attributeTemplate(attribute, context);
  if (!found) {
    report(`the primary index's ${role} attribute "${attribute}" has neither a field nor a value template`);
    return undefined;
  }
  if (found.field && found.field.type !== "string") {
    report(`the key attribute "${attribute}" must be of type string, and is of type ${found.field.type}`);
    return undefined;
  }
  if (found.template.parts.length === 0) {
    report(`the key attribute "${attribute}" has an empty template`);
    return undefined;
  }
  return { attribute, template: found.template };
}

/** Reports a field that a key can't name. */
export function checkKeyField(
  fields: ReadonlyMap<string, Field>,
  name: string,
  role: IdentityRole | undefined,
  report: (text: string) => void,
): void {
  const field = fields.get(name);
  if (!field) return;
  if (!field.synced) report(`field "${name}": a key field can't have "sync": "none"`);
  if (field.packed && role) {
    report(`field "${name}": it names who writes, and needs an attribute of its own`);
  }
  if (field.ttl) report(`field "${name}": a key field can't be the expiry time`);
  if (!role) return;
  if (field.type !== "string") report(`field "${name}": it names who writes, and must be of type string`);
  for (const property of ["default", "generate", "enum", "validate"] as const) {
    if (field[property] !== undefined) {
      report(
        `field "${name}": "${property}" is not supported where the key names it: the value is the writer's own id`,
      );
    }
  }
}
