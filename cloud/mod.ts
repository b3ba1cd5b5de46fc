/**
 * The cloud half as a library: a whole cloud in one call, or its parts for another composition.
 *
 * @example
 * ```ts ignore
 * import { startCloud } from "@twintable/twintable/cloud";
 * import schema from "./schema.ts";
 *
 * await using cloud = await startCloud({
 *   schema,
 *   table: "embedded:cloud.db",
 *   broker: { port: 1883 },
 *   http: { port: 7300 },
 * });
 * console.log(await cloud.registry.add("device-1", "acme"));
 * ```
 *
 * @module
 */
export { type Broker, type BrokerOptions, startBroker } from "./broker/broker.ts";
export type { ApiToken, Scope as ApiScope } from "./api/tokens.ts";
export type { AccessOptions, Admission } from "./broker/access.ts";
export type { ShownCertificate } from "./broker/shown_certificate.ts";
export type { ReaderRights } from "./broker/readers.ts";
export type { JwtOptions } from "./identity/jwt.ts";
export type { DeviceKey } from "./sync/device_keys.ts";
export type { Rate } from "./budget.ts";
export type { DecodeBudgets } from "./decode_lane.ts";
export { type EmbeddedOptions, type EmbeddedTables, openEmbedded } from "./embedded.ts";
export {
  type ConfiguredHandler,
  createHandler,
  type Environment,
  handlerFromEnvironment,
  type HandlerOptions,
} from "./handler.ts";
export { MqttPublisher, type MqttPublisherOptions } from "./publishers/mqtt.ts";
export { MqttReceiver, type MqttReceiverOptions } from "./receiver.ts";
export { type CloudMqttOptions } from "./worker_session.ts";
export { type OpenedTables, openTables, type OpenTablesOptions } from "./open_tables.ts";
export type { Publisher, PublishOptions, Target } from "./publishers/port.ts";
export { type OpenPublisher, openPublisher, type OpenPublisherOptions } from "./publishers/open.ts";
export {
  type Arrival,
  type DeviceInfo,
  type Registered,
  Registry,
  type RegistryOptions,
  type StoredReport,
} from "./sync/registry.ts";
export type { DeviceReport } from "../protocol/report.ts";
export type { Presence } from "../protocol.ts";
export type { TokenOptions } from "./sync/device_token.ts";
export type { Admitted, BrokerCredential } from "./sync/registry.ts";
export type { DeviceStanding, DeviceState, Fleet } from "./sync/fleet.ts";
export type { CloudMetrics, MetricsSources } from "./api/metrics.ts";
export type { Observer, TableOp } from "./sync/observer.ts";
export type { AnsweringOptions } from "./sync/answering.ts";
export type { RequestInfo } from "./api/app.ts";
export { CloudService, type ServiceOptions } from "./sync/service.ts";
export type { PageLimits } from "./sync/snapshot.ts";
export type { Synchronous } from "./embedded.ts";
export type { BrokerConnection } from "../mqtt/session.ts";
export type { ServiceMetrics } from "./sync/metrics.ts";
export type {
  ChangeStream,
  Condition,
  DataTable,
  ItemPage,
  Query,
  StreamBatch,
  StreamOptions,
  StreamRecord,
  Table,
  Tables,
  Write,
  WriteOptions,
  WriteResult,
} from "./table/port.ts";
export type { Item } from "../schema.ts";
export type { Cloud, HttpOptions } from "./running_cloud.ts";
export { type CloudOptions, startCloud } from "./worker.ts";
