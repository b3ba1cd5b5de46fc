/**
 * AWS IoT Core as Twintable's broker: the policies that are attached to the devices' and the workers' certificates. A
 * device is a thing whose name is the device's id and whose attribute `account` is its account's: the devices' policy
 * is the same for all, and grants nothing of other devices.
 *
 * @module
 */
import { topics } from "../../protocol.ts";

/** What the policies name. */
export interface AwsIotOptions {
  readonly region: string;
  /** The AWS account's number. */
  readonly awsAccount: string;
  /** Topic prefix; default `tt`. */
  readonly prefix?: string;
}

const thing = "${iot:Connection.Thing.ThingName}", account = "${iot:Connection.Thing.Attributes[account]}";

function statement(Action: string, Resource: string | string[], more: object = {}): object {
  return { Effect: "Allow", Action, Resource, ...more };
}

/** The policies, by purpose. */
export function awsIotPolicies(
  { region, awsAccount, prefix = "tt" }: AwsIotOptions,
): { device: object; worker: object } {
  const partition = region.startsWith("cn-") ? "aws-cn" : region.startsWith("us-gov-") ? "aws-us-gov" : "aws";
  const arn = (kind: string, name: string) => `arn:${partition}:iot:${region}:${awsAccount}:${kind}/${name}`;
  // The placeholders are not valid ids: they are inserted after the topics were made with valid ones.
  const named = (topic: string) => topic.replace("THING", thing).replace("ACCOUNT", account);
  const topic = topics(prefix);
  const sends = [topic.up("THING"), topic.sync("THING"), topic.presence("THING")].map(named);
  const reads = [topic.down("THING"), topic.account("ACCOUNT"), topic.all].map(named);
  const isThing = { Condition: { Bool: { "iot:Connection.Thing.IsAttached": "true" } } };
  const policy = (...Statement: object[]) => ({ Version: "2012-10-17", Statement });
  return {
    device: policy(
      statement("iot:Connect", arn("client", thing), isThing),
      statement("iot:Publish", sends.map((name) => arn("topic", name))),
      statement("iot:RetainPublish", arn("topic", sends[2]!)),
      statement("iot:Subscribe", reads.map((name) => arn("topicfilter", name))),
      statement("iot:Receive", reads.map((name) => arn("topic", name))),
    ),
    worker: policy(
      statement("iot:Connect", arn("client", "*/publish")),
      statement("iot:Connect", arn("client", "*/receive")),
      statement("iot:Connect", arn("client", "*/test")),
      statement("iot:Publish", arn("topic", `${prefix}/*`)),
      statement("iot:Subscribe", [arn("topicfilter", `${prefix}/*`), arn("topicfilter", `$share/*/${prefix}/*`)]),
      statement("iot:Receive", arn("topic", `${prefix}/*`)),
    ),
  };
}
