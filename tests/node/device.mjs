// A device on Node: node device.mjs BUNDLE OPTIONS. Writes, waits until the cloud has it, and prints what came from there.
const [bundle, options] = process.argv.slice(2);
const { openAgent } = await import(bundle);
const agent = await openAgent(JSON.parse(options));
const settings = agent.model("Setting"), commands = agent.model("Command");
settings.create({ name: "from-node", value: 7 });
await agent.flush({ timeoutMs: 20_000 });
await agent.sync({ timeoutMs: 20_000 });
console.log(JSON.stringify({ command: commands.get({ name: "c" })?.value, version: process.version }));
await agent.close();
