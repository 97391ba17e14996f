// SQLite against the port's rules, in clear and sealed; and what only a file can do.

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { createVault } from "../../src/storage/seal.ts";
import { openSqliteDeliveries } from "../../src/storage/sqlite/deliveries.ts";
import { withDirectory } from "../support/storage.ts";
import { deadOf, deliveriesConformance, failureOf, pluginOf, settlementOf } from "./deliveries.ts";

const vault = createVault(new Uint8Array(32).fill(7));

for (const sealed of [false, true]) {
  deliveriesConformance(`sqlite, ${sealed ? "sealed" : "in clear"}`, (use) =>
    withDirectory(async (directory) => {
      const options = { directory, access: "write", vault: sealed ? vault : null } as const;
      let deliveries = await openSqliteDeliveries(options);
      const reopen = async () => {
        await deliveries.close();
        deliveries = await openSqliteDeliveries(options);
        return deliveries;
      };
      await use({ deliveries, reopen });
      await deliveries.close();
    }),
  );
}

const secret = "s3cret-of-a-header";
const config = {
  type: "http",
  endpoint: "http://127.0.0.1/",
  headers: { authorization: secret },
  https: false,
} as const;

/** Everything in the directory, as bytes. */
const contentsOf = (directory: string): string =>
  ["plugins.db", "plugins.db-wal"]
    .map((name) => join(directory, name))
    .filter((path) => existsSync(path))
    .map((path) => readFileSync(path, "latin1"))
    .join("");

describe("plugins.db", () => {
  test("is made with the first plugin, for its owner alone", async () => {
    await withDirectory(async (directory) => {
      const path = join(directory, "plugins.db");
      const deliveries = await openSqliteDeliveries({ directory, access: "write", vault: null });
      expect(await deliveries.readPlugins()).toEqual([]);
      expect(await deliveries.clearDead({})).toBe(0);
      expect(existsSync(path)).toBe(false);

      await deliveries.putPlugin(pluginOf("p"), 0);
      await deliveries.close();

      expect(statSync(path).mode & 0o777).toBe(0o600);
    });
  });

  test("may be read by whoever must not write", async () => {
    await withDirectory(async (directory) => {
      const reader = { directory, access: "read", vault: null } as const;
      const nobody = await openSqliteDeliveries(reader);
      expect(await nobody.readPlugins()).toEqual([]);
      await nobody.close();
      const writer = await openSqliteDeliveries({ directory, access: "write", vault: null });
      await writer.putPlugin(pluginOf("p"), 0);
      await writer.settle("p", settlementOf({ checkpoint: 2, failed: [deadOf("a", 2)] }));
      await writer.close();

      const reading = await openSqliteDeliveries(reader);
      const outbox = await reading.readOutbox({}, { after: null, limit: 9 });
      const refused = await reading.clearDead({}).catch((error: unknown) => error);
      await reading.close();

      expect(outbox).toEqual([{ plugin: "p", ...deadOf("a", 2) }]);
      expect(refused).toMatchObject({ code: "failed_precondition" });
    });
  });

  test("shows neither secrets nor what receivers said where the store is encrypted", async () => {
    await withDirectory(async (directory) => {
      const deliveries = await openSqliteDeliveries({ directory, access: "write", vault });
      await deliveries.putPlugin(pluginOf("p", { config }), 0);
      const failed = [failureOf("a", 2, { last_error: "the receiver said so" })];
      await deliveries.settle("p", settlementOf({ checkpoint: 2, failed }));

      const kept = contentsOf(directory);
      expect(kept.includes(secret)).toBe(false);
      expect(kept.includes("the receiver said so")).toBe(false);
      await deliveries.close();
    });
  });

  test("what is older than the key is sealed, and nothing of it stays in the files", async () => {
    await withDirectory(async (directory) => {
      const plain = await openSqliteDeliveries({ directory, access: "write", vault: null });
      await plain.putPlugin(pluginOf("p", { config }), 0);
      const failed = Array.from({ length: 1_500 }, (_, index) =>
        failureOf(`a${index}`, index + 1, { last_error: "dbx-sealed-1:no, said the receiver" }),
      );
      await plain.settle("p", settlementOf({ checkpoint: 2_000, failed }));
      const plugins = await plain.readPlugins();
      const outbox = await plain.readOutbox({}, { after: null, limit: 2_000 });
      await plain.close();
      expect(contentsOf(directory).includes(secret)).toBe(true);

      const sealed = await openSqliteDeliveries({ directory, access: "write", vault });
      const left = contentsOf(directory);

      expect(left.includes(secret)).toBe(false);
      expect(left.includes("said the receiver")).toBe(false);
      expect(await sealed.readPlugins()).toEqual(plugins);
      expect(await sealed.readOutbox({}, { after: null, limit: 2_000 })).toEqual(outbox);
      expect(await sealed.check({ limit: 10 })).toEqual([]);
      await sealed.close();
    });
  });

  test("sealed values open neither without the key nor in each other's place", async () => {
    await withDirectory(async (directory) => {
      const sealed = await openSqliteDeliveries({ directory, access: "write", vault });
      await sealed.putPlugin(pluginOf("p", { config }), 0);
      await sealed.close();
      const other = createVault(new Uint8Array(32).fill(8));

      for (const wrong of [null, other]) {
        const opened = await openSqliteDeliveries({ directory, access: "read", vault: wrong });
        const error = await opened.readPlugins().catch((thrown: unknown) => thrown);
        await opened.close();
        expect(error).toMatchObject({ code: "data_corrupted" });
      }
    });
  });

  test("another program's file is refused", async () => {
    await withDirectory(async (directory) => {
      await Bun.write(join(directory, "plugins.db"), "not a database, but long enough ".repeat(90));
      for (const access of ["write", "read"] as const) {
        const error = await openSqliteDeliveries({ directory, access, vault: null }).catch(
          (thrown: unknown) => thrown,
        );
        expect(error).toMatchObject({ code: "data_corrupted" });
      }
    });
  });
});
