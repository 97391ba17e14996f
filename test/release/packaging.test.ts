// What runs dbx elsewhere, and what makes its releases: files that nothing here can run, held to
// rules, and to a real judge where this machine has one.

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/root.ts";
import { targets } from "../../scripts/targets.ts";
import { run } from "../support/checkout.ts";
import { tempDir } from "../support/temp.ts";

const read = (path: string) => readFileSync(join(root, path), "utf8");
const packaging = (name: string) => read(`scripts/packaging/${name}`);

interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}
interface Job {
  readonly uses?: string;
  readonly steps?: readonly Step[];
  readonly needs?: string;
  readonly permissions?: Readonly<Record<string, string>>;
  readonly "timeout-minutes"?: number;
  readonly "runs-on"?: string;
  readonly strategy?: { readonly matrix: Readonly<Record<string, unknown>> };
}
interface Workflow {
  readonly on: Readonly<Record<string, unknown>>;
  readonly permissions: Readonly<Record<string, string>>;
  readonly jobs: Readonly<Record<string, Job>>;
}

const workflows = ["ci.yml", "release.yml"];
const textOf = (name: string) => read(`.github/workflows/${name}`);
const parsed = (name: string) => Bun.YAML.parse(textOf(name)) as Workflow;
const stepsOf = (name: string) =>
  Object.values(parsed(name).jobs).flatMap(({ steps = [] }) => steps);

describe("the workflows", () => {
  test("are these two, of which one uses the other: there is one way to a release", () => {
    const found = [...new Bun.Glob("*").scanSync(join(root, ".github/workflows"))].sort();
    expect(found).toEqual(workflows);
    const { on, jobs } = parsed("release.yml");
    expect(Object.keys(on)).toEqual(["push"]);
    expect(jobs["ci"]?.uses).toBe("./.github/workflows/ci.yml");
    expect(jobs["publish"]?.needs).toBe("ci");
    expect(Object.keys(parsed("ci.yml").on)).toContain("workflow_call");
  });

  test("build every platform, and try each on a system of its kind", () => {
    const { jobs } = parsed("ci.yml");
    const triples = targets.map(({ triple }) => triple).sort();
    const built = jobs["build"]?.strategy?.matrix["triple"] as string[];
    expect(built.toSorted()).toEqual(triples);
    const tried = jobs["smoke"]?.strategy?.matrix["include"] as {
      triple: string;
      runner: string;
      file: string;
    }[];
    expect(tried.map(({ triple }) => triple).toSorted()).toEqual(triples);
    for (const { triple, runner, file } of tried) {
      expect(file).toBe(targets.find((target) => target.triple === triple)?.executable ?? "");
      const system = /linux|darwin|windows/.exec(triple)?.[0] ?? "";
      expect(runner).toStartWith({ linux: "ubuntu", darwin: "macos", windows: "windows" }[system]!);
      const arm = /arm|macos-15$/.test(runner);
      expect(arm).toBe(triple.startsWith("aarch64"));
    }
    const words = stepsOf("ci.yml").map((step) => step.run ?? "");
    for (const needed of ["scripts/smoke", "codesign --force --sign -", "alpine", ".ci/run"]) {
      expect(words.join("\n")).toContain(needed);
    }
  });

  test.each(workflows)("%s pins what it runs, and may no more than it must", (name) => {
    const { permissions, jobs } = parsed(name);
    expect(permissions).toEqual({ contents: "read" });
    for (const [job, { uses, permissions: own = {}, ...rest }] of Object.entries(jobs)) {
      const allowed = {
        publish: { contents: "write", "id-token": "write", attestations: "write" },
        image: { contents: "read", packages: "write" },
      };
      expect(own).toEqual(Object.hasOwn(allowed, job) ? allowed[job as keyof typeof allowed] : {});
      if (uses !== undefined) continue;
      expect(rest["timeout-minutes"]).toBeLessThanOrEqual(60);
      expect(rest["runs-on"]).not.toContain("latest");
    }
    for (const [line] of textOf(name).matchAll(/^.*\buses: .*$/gm)) {
      expect(line).toMatch(/uses: (?:\.\/|[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$)/);
    }
    for (const { run: words = "", uses = "", with: given } of stepsOf(name)) {
      // What others may name must not be put into a script.
      expect(words).not.toContain("${{");
      if (uses.startsWith("actions/checkout@")) expect(given?.["persist-credentials"]).toBe(false);
      for (const [path] of words.matchAll(/(?<![\w/])(?:scripts|\.ci)\/[\w./-]+/g)) {
        expect([path, existsSync(join(root, path))]).toEqual([path, true]);
      }
    }
  });

  test("attest and publish every file, and nobody sees a release that is not complete", () => {
    const steps = parsed("release.yml").jobs["publish"]?.steps ?? [];
    const attest = steps.findIndex(
      ({ uses }) => uses?.includes("attest-build-provenance") === true,
    );
    const publish = steps.findIndex(({ run: words }) => words?.includes("gh release") === true);
    expect(attest).toBeGreaterThan(0);
    expect(publish).toBeGreaterThan(attest);
    expect(steps[attest]?.with).toEqual({ "subject-path": "dist/release/*" });
    const words = steps[publish]?.run ?? "";
    const order = ["--draft --verify-tag", "gh release upload", "--draft=false"].map((part) =>
      words.indexOf(part),
    );
    expect(order).toEqual(order.toSorted((left, right) => left - right));
    expect(order[0]).toBeGreaterThan(0);
  });

  test("run what a shell understands", async () => {
    for (const { run: words } of workflows.flatMap(stepsOf)) {
      if (words === undefined) continue;
      const checked = await run(["sh", "-n"], { cwd: root, stdin: words });
      expect(checked).toMatchObject({ code: 0, stderr: "" });
    }
  });
});

describe("the container", () => {
  const lines = packaging("Dockerfile")
    .replaceAll(/\\\n\s*/g, "")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  const of = (word: string) =>
    lines.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1));

  test("has one file of ours on a small base, runs as nobody's root, and keeps data outside", () => {
    expect(of("FROM")).toEqual([
      "--platform=$BUILDPLATFORM debian:12-slim AS unpacked",
      "gcr.io/distroless/base-nossl-debian12:nonroot",
    ]);
    expect(of("USER")).toEqual(["65532:65532"]);
    expect(of("VOLUME")).toEqual(["/data"]);
    expect(of("ENV")).toEqual(["HOME=/data DBX_INSTALLED_BY=docker"]);
    const last = lines.slice(lines.findIndex((line) => line.includes("distroless")));
    // Without a shell there is nothing to run at the build, and words must come as lists.
    expect(last.filter((line) => line.startsWith("RUN "))).toEqual([]);
    const words = ["HEALTHCHECK", "ENTRYPOINT", "CMD"].flatMap(of);
    expect(words).toHaveLength(3);
    for (const line of words) expect(JSON.parse(line.slice(line.indexOf("[")))).toBeArray();
    expect(of("HEALTHCHECK")[0]).toContain('["/usr/local/bin/dbx", "status"]');
  });

  test("is made for processors that dbx is made for, of an archive that was compared", () => {
    const [unpack = ""] = of("RUN");
    for (const triple of unpack.match(/triple=([\w-]+)/g) ?? []) {
      expect(targets.map((target) => `triple=${target.triple}`)).toContain(triple);
    }
    expect(unpack.indexOf("sha256sum --check --strict")).toBeGreaterThan(0);
    expect(unpack.indexOf("tar -xzf")).toBeGreaterThan(unpack.indexOf("sha256sum"));
  });
});

describe("the service of systemd", () => {
  const lacking = Bun.which("systemd-analyze") === null;

  test.skipIf(lacking)("is valid, and walled in [needs systemd-analyze]", async () => {
    using place = tempDir();
    // Whether the program exists is judged as well.
    const text = packaging("dbx.service").replaceAll("/usr/local/bin/dbx", "/bin/true");
    const file = join(place.path, "dbx.service");
    writeFileSync(file, text);
    const at = { cwd: place.path };
    const verified = await run(["systemd-analyze", "verify", "--man=no", file], at);
    expect(verified).toMatchObject({ code: 0, stderr: "" });
    const judge = ["systemd-analyze", "security", "--offline=true", "--threshold=25", file];
    const judged = await run(judge, at);
    expect(judged.code).toBe(0);
    expect(judged.stdout).toMatch(/Overall exposure level for dbx.service: [12]\.\d/);
  });

  test("runs in the foreground as its own user, with room to end, and may compile", () => {
    const unit = packaging("dbx.service");
    for (const line of [
      "ExecStart=/usr/local/bin/dbx start --foreground",
      ...["User=dbx", "StateDirectory=dbx", "StateDirectoryMode=0700", "NoNewPrivileges=yes"],
      "ExecReload=/bin/kill -HUP $MAINPID",
    ]) {
      expect(unit.split("\n")).toContain(line);
    }
    expect(unit).not.toMatch(/^MemoryDenyWriteExecute=/m);
    expect(Number(/^TimeoutStopSec=(\d+)$/m.exec(unit)?.[1])).toBeGreaterThan(10);
  });
});

describe("the agent of launchd", () => {
  const text = packaging("eventdbx.dbx.plist");

  test("is a property list that starts dbx in the foreground and again after a crash", async () => {
    const { plist } = Bun.XML.parse(text) as any;
    expect(plist["@version"]).toBe("1.0");
    expect(plist.dict.key.slice(0, 4)).toEqual([
      ...["Label", "ProgramArguments", "RunAtLoad", "KeepAlive"],
    ]);
    expect(plist.dict.string).toBe("eventdbx.dbx");
    const [shell, flag, words] = plist.dict.array.string;
    expect([shell, flag]).toEqual(["/bin/sh", "-c"]);
    expect(words).toContain('exec "$HOME/.local/bin/dbx" start --foreground');
    expect(await run(["sh", "-n"], { cwd: root, stdin: words })).toMatchObject({ code: 0 });
    expect(plist.dict.dict[0].key).toBe("SuccessfulExit");
    // Written in decimal; 0077, so that nobody else reads data or log.
    expect(plist.dict.integer).toEqual(["60", String(0o77)]);
  });

  test.skipIf(Bun.which("plutil") === null)("is valid to macOS [needs plutil]", async () => {
    const checked = await run(["plutil", "-lint", "scripts/packaging/eventdbx.dbx.plist"], {
      cwd: root,
    });
    expect(checked.code).toBe(0);
  });
});
