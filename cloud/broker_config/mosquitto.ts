/**
 * Mosquitto (2.0 and later) as Twintable's broker: its configuration, and the state of its dynamic-security plugin,
 * which checks publishing, receiving and subscribing. The older `acl_file` does not check subscriptions: a device could
 * join the workers' shared subscription, and messages that it got would be lost. Each device has its own role with
 * literal topics: it never gets a wildcard or a share. The plugin's administrator updates it from then on, by commands
 * on its control topic ({@link addCommands}, {@link removeCommands}).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { pbkdf2Sync, randomBytes } from "node:crypto";
import { topics } from "../../protocol.ts";
import type { Identity } from "../../schema/model.ts";
import { mosquittoIterations } from "../sync/device_token.ts";
import type { BrokerCredential } from "../sync/registry.ts";
import { rightsOf } from "./rights.ts";

/** The plugin's topics for commands and answers. */
export const controlTopic = "$CONTROL/dynamic-security/v1";
export const controlAnswers = `${controlTopic}/response`;

/** A user with a known password. */
export interface BrokerUser {
  readonly username: string;
  readonly password: string;
}

/** The plugin's initial state. */
export interface DynamicSecurityOptions {
  /** Those without a password can't log in. */
  readonly devices: readonly BrokerCredential[];
  readonly worker: BrokerUser;
  /** Who may change the plugin's state. */
  readonly admin: BrokerUser;
  /** Topic prefix; default `tt`. */
  readonly prefix?: string;
  /** The devices' listener takes their names from their certificates. */
  readonly byCertificate?: boolean;
}

interface Acl {
  readonly acltype: string;
  readonly topic: string;
  readonly priority: number;
  readonly allow: boolean;
}

interface Role {
  readonly rolename: string;
  readonly acls: readonly Acl[];
}

const allow = (acltype: string, topic: string): Acl => ({ acltype, topic, priority: 0, allow: true });

function deviceRole(prefix: string | undefined, identity: Identity): Role {
  const { publishes, subscribes } = rightsOf(topics(prefix), identity);
  return {
    rolename: roleOf(identity.deviceId),
    acls: [
      ...publishes.map((topic) => allow("publishClientSend", topic)),
      ...subscribes.flatMap((topic) => [allow("publishClientReceive", topic), allow("subscribeLiteral", topic)]),
    ],
  };
}

function roleOf(deviceId: string): string {
  return `device-${deviceId}`;
}

function workerRole(prefix = "tt"): Role {
  return {
    rolename: "twintable-worker",
    acls: [
      allow("publishClientSend", `${prefix}/#`),
      allow("publishClientReceive", `${prefix}/#`),
      allow("subscribePattern", `${prefix}/#`),
      allow("subscribePattern", `$share/+/${prefix}/#`),
    ],
  };
}

const adminRole: Role = {
  rolename: "twintable-admin",
  acls: [
    allow("publishClientSend", `${controlTopic}/#`),
    allow("publishClientReceive", `${controlTopic}/#`),
    allow("subscribePattern", `${controlTopic}/#`),
  ],
};

function userOf({ username, password }: BrokerUser, { rolename }: Role): object {
  const salt = randomBytes(12);
  return {
    username,
    roles: [{ rolename }],
    // For a password that a person chose: more iterations than Mosquitto's default.
    ...hashed(pbkdf2Sync(password, salt, 100_000, 64, "sha512"), salt, 100_000),
  };
}

function hashed(hash: Uint8Array, salt: Uint8Array, iterations: number): object {
  return { password: Buffer.from(hash).toString("base64"), salt: Buffer.from(salt).toString("base64"), iterations };
}

/** The plugin's state, as it is in its file. */
export function dynamicSecurity(
  { devices, worker, admin, prefix, byCertificate = false }: DynamicSecurityOptions,
): object {
  const workers = workerRole(prefix);
  return {
    defaultACLAccess: { publishClientSend: false, publishClientReceive: false, subscribe: false, unsubscribe: true },
    clients: [
      userOf(admin, adminRole),
      userOf(worker, workers),
      ...devices.map(({ deviceId, password, certified, formerMs }) => ({
        username: deviceId,
        clientid: deviceId,
        roles: [{ rolename: roleOf(deviceId) }],
        // Without a password a device comes by its certificate, where the listener takes one, or not at all.
        ...(byCertificate && formerMs !== undefined
          // A former device's certificate would act as this one.
          ? { disabled: true }
          : password
          ? { password: password.hash, salt: password.salt, iterations: mosquittoIterations }
          : certified
          ? {}
          : { disabled: true }),
      })),
    ],
    groups: [],
    roles: [adminRole, workers, ...devices.map((device) => deviceRole(prefix, device))],
  };
}

/** A command for {@link controlTopic}. */
export type ControlCommand = { readonly command: string } & Readonly<Record<string, unknown>>;

/**
 * Admits a device by its token, or without one by its certificate only; replaces its former state, and cuts its
 * connection.
 */
export function addCommands(identity: Identity, token: string | undefined, prefix?: string): ControlCommand[] {
  const { rolename, acls } = deviceRole(prefix, identity);
  return [
    ...removeCommands(identity.deviceId),
    { command: "createRole", rolename, acls },
    {
      command: "createClient",
      username: identity.deviceId,
      clientid: identity.deviceId,
      ...(token === undefined ? {} : { password: token }),
      roles: [{ rolename }],
    },
  ];
}

/** Removes a device: the plugin cuts its connection. */
export function removeCommands(deviceId: string): ControlCommand[] {
  return [
    { command: "deleteClient", username: deviceId },
    { command: "deleteRole", rolename: roleOf(deviceId) },
  ];
}

/** The options of `mosquitto.conf`. */
export interface MosquittoConfOptions {
  readonly plugin: string;
  /** The plugin's state; Mosquitto must be able to write it. */
  readonly stateFile: string;
  /** Lines of the devices' listener: the port, the certificates. */
  readonly devices: readonly string[];
  /** Lines of the workers'. */
  readonly workers: readonly string[];
}

/**
 * Lines of a devices' listener that takes certificates alone: the common name is the user name, whose role the plugin knows. No
 * password is looked at.
 */
export const certificateLines: readonly string[] = [
  "require_certificate true",
  "use_identity_as_username true",
];

/** The text of `mosquitto.conf`. */
export function mosquittoConf({ plugin, stateFile, devices, workers }: MosquittoConfOptions): string {
  return `# Mosquitto (2.0 or later) as Twintable's broker, written by "broker config mosquitto".

# Who gets in, and what each may publish, receive and subscribe to. Kept in step by "device add|rotate|revoke --broker".
allow_anonymous false
plugin ${plugin}
plugin_opt_config_file ${stateFile}

# Devices. The user name replaces the client id, so that no device can displace another by its client id.
${devices.join("\n")}
use_username_as_clientid true
max_connections -1

# Cloud workers: each has connections with client ids of their own, so this listener leaves client ids alone. Keep it on an
# address that only the workers reach.
${workers.join("\n")}

# Without this, Nagle's algorithm and delayed acknowledgements add 44 ms to every small round trip (measured).
set_tcp_nodelay true

# Twintable's sessions are clean. A client that asks for one that outlives its connection gets it for an hour, and so much of it.
persistent_client_expiration 1h
# What waits for a client that is connected but slow. Mosquitto's defaults (20 in flight, 1000 queued) silently drop QoS 1
# messages to a busy worker.
max_inflight_messages 1000
max_queued_messages 20000
max_queued_bytes 16777216
queue_qos0_messages false

# Twintable keeps its messages to 128 KB (larger ones travel in parts); this is the broker's own limit.
message_size_limit 262144
max_keepalive 1200

# Presence is the only thing that is retained; it is set anew at every connect.
persistence false
`;
}
