/**
 * EMQX as Twintable's broker: its file of access rules (`acl.conf`). Devices log in with their id as user name; set
 * `mqtt.peer_cert_as_clientid` or an authenticator that makes the client id equal to it, and `authorization.no_match = deny`,
 * `authorization.deny_action = disconnect`.
 *
 * @module
 */
import { topics } from "../../protocol.ts";
import type { Identity } from "../../schema/model.ts";

/** What the rules name. */
export interface EmqxOptions {
  /** The workers' user name. */
  readonly worker: string;
  readonly devices: readonly Identity[];
  /** Topic prefix; default `tt`. */
  readonly prefix?: string;
}

/** The text of `acl.conf`. The first matching rule counts. */
export function emqxAcl({ worker, devices, prefix = "tt" }: EmqxOptions): string {
  const topic = topics(prefix);
  const own = (make: (deviceId: string) => string) => `"${make("ID").replace("/ID/", "/${username}/")}"`;
  // Exactly: {eq, …} grants no filter with a wildcard.
  const exactly = (name: string) => `{eq, "${name}"}`;
  return [
    `%% What Twintable's parties may do, written by "broker config emqx".`,
    `{allow, {username, "${worker}"}, all, ["${prefix}/#", "$share/+/${prefix}/#"]}.`,
    `{deny, all, subscribe, ["$SYS/#", "$share/#", "$queue/#", {eq, "#"}]}.`,
    `{allow, all, {publish, [{retain, false}]}, [${own(topic.up)}, ${own(topic.sync)}]}.`,
    `{allow, all, publish, [${own(topic.presence)}]}.`,
    `{allow, all, subscribe, [${own(topic.down)}, ${exactly(topic.all)}]}.`,
    "%% EMQX does not know which account a device belongs to: a rule for each device.",
    ...devices.map(({ deviceId, accountId }) =>
      `{allow, {username, "${deviceId}"}, subscribe, [${exactly(topic.account(accountId))}]}.`
    ),
    "{deny, all}.",
    "",
  ].join("\n");
}
