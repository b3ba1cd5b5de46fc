/** What a release says of what is in it: bills of materials, checksums, and licences that may be shipped. */
import assert from "node:assert/strict";
import { billOf, checksumsOf, licenceProblems, shippedBy } from "../../build/supply_chain.ts";

Deno.test("supply chain: each shipped package has a licence on the list, and an integrity in the lock", async () => {
  const device = await shippedBy("twintable"), cloud = await shippedBy("twintable-cloud");
  assert.deepEqual(licenceProblems([...device, ...cloud]), []);
  assert.deepEqual([...device, ...cloud].filter(({ sha512 }) => !/^[0-9a-f]{128}$/.test(sha512 ?? "")), []);
  const names = (shipped: typeof device) => shipped.map(({ name }) => name);
  assert.ok(names(device).includes("mqtt") && !names(device).some((name) => /aws-sdk|aedes|hono/.test(name)));
  assert.ok(["@aws-sdk/client-dynamodb", "aedes", "hono"].every((name) => names(cloud).includes(name)));
  // What builds and tests is not shipped.
  assert.ok(!names(cloud).some((name) => /fast-check|cyclonedx|playwright/.test(name)));
});

Deno.test("supply chain: a licence that is not on the list is named with its package", () => {
  const of = (licence: string) => licenceProblems([{ name: "p", version: "1.0.0", licence, needs: [] }]).length === 0;
  for (const fine of ["MIT", "(MIT OR GPL-3.0)", "Apache-2.0 AND MIT", "0BSD"]) assert.ok(of(fine), fine);
  for (const refused of ["", "GPL-3.0-only", "AGPL-3.0 OR SSPL-1.0", "MIT AND GPL-2.0", "SEE LICENSE IN x"]) {
    assert.ok(!of(refused), refused);
  }
});

Deno.test("supply chain: the bill of materials names each package once, with what it needs, and is reproducible", async () => {
  const shipped = await shippedBy("twintable");
  const text = billOf("twintable", "0.1.0", shipped), bill = JSON.parse(text);
  assert.equal(text, billOf("twintable", "0.1.0", [...shipped].reverse()));
  assert.deepEqual([bill.bomFormat, bill.specVersion], ["CycloneDX", "1.6"]);
  const refs = new Set<string>(bill.components.map((one: Record<string, string>) => one["bom-ref"]));
  assert.equal(refs.size, shipped.length + 1, "the runtime, too");
  const needs = new Map<string, string[]>(
    bill.dependencies.map(({ ref, dependsOn = [] }: { ref: string; dependsOn?: string[] }) => [ref, dependsOn]),
  );
  // Everything is reached from the program.
  const reached = new Set<string>(["twintable"]);
  for (const ref of reached) needs.get(ref)?.forEach((one) => reached.add(one));
  assert.deepEqual([...refs].filter((ref) => !reached.has(ref)), []);
});

Deno.test("supply chain: checksums are sha256sum's", async () => {
  const dir = await Deno.makeTempDir();
  await Deno.writeTextFile(`${dir}/b`, "two");
  await Deno.writeTextFile(`${dir}/a`, "one");
  await Deno.writeTextFile(`${dir}/SHA256SUMS`, "old");
  const text = await checksumsOf(dir);
  assert.equal(
    text,
    "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed  a\n" +
      "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3  b\n",
  );
  await Deno.remove(dir, { recursive: true });
});
