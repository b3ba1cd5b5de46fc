/**
 * Prisma's client on a device's tables: create, update, upsert, createMany, delete, raw queries, transactions.
 *
 * Made after prisma/orm#8079 (`migrate dev` takes tables that it did not make for drift, and wants to reset the whole database): so
 * that docs/orm.md tells to use the client alone.
 * `prisma db pull` and `migrate` need a program from Prisma's own server, which is not asked here: the client needs none, and
 * its generator only wants to find one.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";

const [path, folder] = process.argv.slice(2);
const own = mkdtempSync(join(folder, "prisma-"));
try {
  writeFileSync(
    join(own, "schema.prisma"),
    `generator client {
      provider = "prisma-client-js"
      output   = "./client"
    }
    datasource db {
      provider = "sqlite"
    }
    model Setting {
      row   Int     @id @default(autoincrement()) @map("_id")
      name  String  @unique
      value String?
      @@map("Setting")
    }`,
  );
  const cli = join(folder, "node_modules/prisma/build/index.js");
  execFileSync(process.execPath, [cli, "generate", "--schema", join(own, "schema.prisma")], {
    cwd: own,
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: process.execPath, CHECKPOINT_DISABLE: "1" },
  });
  const require = createRequire(join(own, "any.js"));
  const { PrismaClient } = require("./client");
  const { PrismaBetterSqlite3 } = require("@prisma/adapter-better-sqlite3");
  const db = new PrismaClient({ adapter: new PrismaBetterSqlite3({ url: `file:${path}`, timeout: 5000 }) });
  const made = await db.setting.create({ data: { name: "prisma", value: "1" } });
  assert.ok(made.row > 0);
  await db.setting.update({ where: { name: "prisma" }, data: { value: "2" } });
  for (const name of ["prisma", "other"]) {
    await db.setting.upsert({ where: { name }, create: { name, value: "4" }, update: { value: "3" } });
  }
  await db.setting.createMany({ data: [{ name: "n1" }, { name: "n2" }] });
  await db.$transaction([db.setting.deleteMany({ where: { name: { startsWith: "n" } } })]);
  assert.ok((await db.$queryRawUnsafe("SELECT count(*) AS n FROM _pending"))[0].n >= 2n);
  assert.deepEqual(
    await db.setting.findMany({ select: { name: true, value: true }, orderBy: { name: "asc" } }),
    [{ name: "other", value: "4" }, { name: "prisma", value: "3" }],
  );
  await db.$disconnect();
} finally {
  rmSync(own, { recursive: true, force: true });
}
console.log("ok");
