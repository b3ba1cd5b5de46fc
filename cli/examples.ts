/**
 * The examples of each command's help: lines that work as they are, but for names and addresses. A test reads their flags.
 *
 * @module
 */

/** What follows the program's name, by command. */
export const examples: Readonly<Record<string, readonly string[]>> = {
  dev: ["dev", "dev --devices 3 --dir ./state", "dev --schema schema.json5 --port 7400"],
  cloud: [
    "cloud --schema schema.json5 --table embedded:cloud.db --broker --port 7300",
    "cloud --schema schema.json5 --table dynamodb://notes?region=eu-central-1 --mqtt mqtts://broker.example --log json",
    "cloud table create --schema schema.json5 --table dynamodb://notes?region=eu-central-1",
  ],
  device: [
    "device add sensor-1 --account acme --table embedded:cloud.db",
    "device add --from devices.csv --to tokens.csv --account acme",
    "device show sensor-1",
    "device rotate sensor-1 --grace 48h",
  ],
  broker: ["broker config mosquitto --table embedded:cloud.db --schema schema.json5 --out ./mosquitto"],
  audit: ["audit --table embedded:cloud.db"],
  agent: [
    "agent --device sensor-1 --account acme --schema schema.json5 --db sensor.db --mqtt mqtts://broker.example --password-file token",
    "agent --config /etc/twintable/agent.json5 --log json",
  ],
  status: ["status --db sensor.db", "status --db sensor.db --watch", "status --db sensor.db --check --max-lag 1h"],
  verify: ["verify --db sensor.db", "verify --db sensor.db --repair", "verify --cloud http://127.0.0.1:7300 --all"],
  rejected: ["rejected list --db sensor.db", "rejected retry 7 --db sensor.db"],
  conflicts: ["conflicts list --db sensor.db", "conflicts restore 3 --db sensor.db"],
  aside: ["aside list --db sensor.db", "aside retry --db sensor.db"],
  tail: [
    "tail --db sensor.db",
    "tail --db sensor.db --past 20 --json",
    "tail --cloud http://127.0.0.1:7300 --model Alarm",
  ],
  doctor: [
    "doctor --db sensor.db",
    "doctor --db sensor.db --mqtt mqtts://broker.example --password-file token",
    "doctor --cloud http://127.0.0.1:7300",
  ],
  data: [
    "data list Setting --db sensor.db",
    "data put Setting name=volume value=7 --db sensor.db",
    "data list Setting --cloud http://127.0.0.1:7300",
  ],
  export: ["export --db sensor.db --to ./out", "export --db sensor.db --model Setting --to - --format csv"],
  import: ["import settings.jsonl --model Setting --db sensor.db"],
  backup: ["backup --db sensor.db --to copy.db"],
  restore: ["restore --from copy.db --db sensor.db"],
  reset: ["reset --db sensor.db"],
  key: ["key rotate --db sensor.db --key-file old.key --new-key-file new.key"],
  schema: ["schema check schema.json5", "schema diff old.json5 new.json5"],
  claim: ["claim K7QM-2W4X-9RTD --device sensor-1 --cloud https://cloud.example --password-file token"],
  csr: ["csr sensor-1 --key sensor.key --out sensor.csr"],
  licenses: ["licenses"],
};
