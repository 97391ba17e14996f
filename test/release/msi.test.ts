// The Windows installer, made on Linux: what its tables say, and what Windows does with it as far
// as Wine can tell.

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { msiOf, msiTools } from "../../scripts/msi.ts";
import { run } from "../support/checkout.ts";
import { tempDir } from "../support/temp.ts";

const lacking = [...msiTools, "msiinfo"].some((tool) => Bun.which(tool) === null);
// Debian keeps it off the PATH.
const wine = ["wine64", "/usr/lib/wine/wine64"].find((name) => Bun.which(name) !== null);
const options = { version: "2.3.4", seconds: 1_764_515_401 };

describe("the Windows installer", () => {
  test.skipIf(lacking)(
    "is the same bytes for the same program [needs wixl and msitools]",
    async () => {
      using place = tempDir();
      const program = join(place.path, "dbx.exe");
      writeFileSync(program, "one");
      const first = await msiOf({ ...options, program });
      // Its own times are in seconds: the next one begins before it is made again.
      const second = Math.floor(performance.now() / 1000);
      const later = Promise.withResolvers<void>();
      const timer = setInterval(() => {
        if (Math.floor(performance.now() / 1000) > second + 1) later.resolve();
      }, 50);
      await later.promise;
      clearInterval(timer);
      expect(Buffer.from(await msiOf({ ...options, program })).equals(first)).toBe(true);
      writeFileSync(program, "two");
      expect(Buffer.from(await msiOf({ ...options, program })).equals(first)).toBe(false);
    },
  );

  test.skipIf(lacking)(
    "is for the machine, upgrades what is there, and extends its PATH [needs wixl and msitools]",
    async () => {
      using place = tempDir();
      const program = join(place.path, "dbx.exe");
      writeFileSync(program, "one");
      writeFileSync(join(place.path, "dbx.msi"), await msiOf({ ...options, program }));
      const table = async (name: string) =>
        (await run(["msiinfo", "export", "dbx.msi", name], { cwd: place.path })).stdout
          .split(/\r?\n/)
          .slice(3)
          .map((row) => row.split("\t"));
      const properties = Object.fromEntries(await table("Property"));
      expect(properties).toMatchObject({
        ...{ ALLUSERS: "1", ProductName: "eventdbx", ProductVersion: "2.3.4" },
        UpgradeCode: "{C3705B3F-CA2E-4B74-AB5A-66924BD9CFD6}",
      });
      expect(await table("Environment")).toContainEqual([
        ...["Path", "=-*PATH", "[~];[Bin]", "Program"],
      ]);
      const order = Object.fromEntries(
        (await table("InstallExecuteSequence")).map(([action = "", , at]) => [action, Number(at)]),
      );
      expect(order["WriteEnvironmentStrings"]).toBeGreaterThan(order["InstallFiles"] ?? NaN);
      expect(order["RemoveEnvironmentStrings"]).toBeLessThan(order["RemoveFiles"] ?? NaN);
      const upgrades = (await table("Upgrade")).map(([code, , , , , , action]) => [code, action]);
      expect(upgrades).toContainEqual([properties["UpgradeCode"], "WIX_UPGRADE_DETECTED"]);
      expect(await table("LaunchCondition")).toContainEqual([
        ...["NOT WIX_DOWNGRADE_DETECTED", "A newer eventdbx is installed; remove it first."],
      ]);
      const { stdout } = await run(["msiinfo", "suminfo", "dbx.msi"], { cwd: place.path });
      expect(stdout).toMatch(/Created: .*2025\nLast saved: .*2025\n/);
    },
  );

  test.skipIf(lacking || wine === undefined)(
    "installs, and leaves nothing when it is removed [needs wixl, msitools and wine64]",
    async () => {
      using place = tempDir();
      const program = join(place.path, "program");
      writeFileSync(program, "one");
      const msi = join(place.path, "dbx.msi");
      writeFileSync(msi, await msiOf({ ...options, program }));
      const prefix = join(place.path, "prefix");
      const env = { ...process.env, WINEPREFIX: prefix, WINEDEBUG: "-all", DISPLAY: "" };
      const windows = (...words: string[]) =>
        run([wine ?? "", ...words], { cwd: place.path, env: { ...env, HOME: place.path } });
      const key = "HKLM\\System\\CurrentControlSet\\Control\\Session Manager\\Environment";
      const path = async () => (await windows("reg", "query", key, "/v", "PATH")).stdout;
      const installed = join(prefix, "drive_c/Program Files/eventdbx/bin/dbx.exe");

      expect(await windows("msiexec", "/i", `Z:${msi}`, "/qn")).toMatchObject({ code: 0 });
      expect(readFileSync(installed, "utf8")).toBe("one");
      expect(await path()).toContain(";C:\\Program Files\\eventdbx\\bin\\");

      expect(await windows("msiexec", "/x", `Z:${msi}`, "/qn")).toMatchObject({ code: 0 });
      expect(existsSync(installed)).toBe(false);
      expect(await path()).not.toContain("eventdbx");
      // It goes by itself a little later where this is not found.
      await run(["/usr/lib/wine/wineserver", "-k"], { cwd: place.path, env }).catch(
        () => undefined,
      );
    },
    120_000,
  );
});
