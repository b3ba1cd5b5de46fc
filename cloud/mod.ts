/**
 * The cloud half as a library: a whole cloud in one call, or its parts for another composition.
 *
 * @example
 * ```ts ignore
 * import { startCloud } from "@twintable/twintable/cloud";
 * import { compileSchema } from "@twintable/twintable";
 * import source from "./schema.ts";
 *
 * await using cloud = await startCloud({
 *   schema: compileSchema(source),
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
export { type EmbeddedOptions, type EmbeddedTables, openEmbedded } from "./embedded.ts";
export {
  type ConfiguredHandler,
  createHandler,
  type Environment,
  handlerFromEnvironment,
  type HandlerOptions,
} from "./handler.ts";
export {
  type CloudMqttOptions,
  MqttPublisher,
  type MqttPublisherOptions,
  MqttReceiver,
  type MqttReceiverOptions,
} from "./mqtt.ts";
export { type OpenedTables, openTables, type OpenTablesOptions } from "./open_tables.ts";
export type { Publisher, Target } from "./publishers/port.ts";
export { type OpenPublisher, openPublisher, type OpenPublisherOptions } from "./publishers/open.ts";
export { type DeviceInfo, Registry, type RegistryOptions } from "./sync/registry.ts";
export { CloudService, type ServiceOptions } from "./sync/service.ts";
export type { ServiceMetrics } from "./sync/metrics.ts";
export type {
  ChangeStream,
  Condition,
  DataTable,
  ItemPage,
  Query,
  StreamBatch,
  StreamRecord,
  Table,
  Tables,
  Write,
  WriteResult,
} from "./table/port.ts";
export { type Cloud, type CloudOptions, type HttpOptions, startCloud } from "./worker.ts";
