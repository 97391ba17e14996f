/**
 * scripts/test never looks green by accident: whatever way the suite ends, the last line counts it
 * and the exit code says the same.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { countTests, lastLine, skipReason } from "../../scripts/report.ts";
import { makeCheckout, run } from "../support/checkout.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

const suite = (file: string, cases: string) =>
  `<testsuites><testsuite name="${file}" file="${file}" tests="1" time="1.5">
  <testsuite name="inner" file="${file}" time="1">${cases}</testsuite></testsuite></testsuites>`;
const good = '<testcase name="a &lt; b" classname="inner" file="test/a.test.ts" />';
const bad = `<testcase name="c" file="test/a.test.ts" >
  <failure type="E" message="&#10;">text</failure></testcase>`;
const skip =
  '<testcase name="d [needs &quot;x&quot;]" file="test/a.test.ts"><skipped /></testcase>';

describe("the count", () => {
  const file = "test/a.test.ts";

  test("takes passes, failures and skips from the report", () => {
    const xml = suite(file, good + bad + skip + good);
    const { counts, problems } = countTests({ xml, exitCode: 1, expected: [file] });
    expect(counts).toEqual({
      ...{ passed: 2, failed: 1, files: [{ file, seconds: 1.5 }] },
      skips: [{ file, name: 'd [needs "x"]', reason: 'needs "x"' }],
    });
    expect(problems).toEqual([]);
  });
  test("adds a failure for every way in which a run can end early", () => {
    const whole = { xml: suite(file, good), exitCode: 0, expected: [file] };
    const failures = (change: Partial<Parameters<typeof countTests>[0]>) =>
      countTests({ ...whole, ...change }).counts.failed;
    expect(failures({})).toBe(0);
    expect(failures({ expected: [file, "test/b.test.ts"] })).toBe(1);
    expect(failures({ exitCode: 1 })).toBe(1);
    expect(failures({ exitCode: undefined })).toBe(1);
    expect(failures({ xml: suite(file, "") })).toBe(1);
    expect(failures({ xml: suite(file, skip) })).toBe(1);
    expect(failures({ xml: "", expected: [] })).toBe(1);
    expect(failures({ xml: undefined, expected: [] })).toBe(1);
  });
  test("ends in one line, with skips only when there are any", () => {
    expect(lastLine({ passed: 3, failed: 0, skipped: 0 })).toBe("3 passed, 0 failed");
    expect(lastLine({ passed: 3, failed: 1, skipped: 2 })).toBe("3 passed, 1 failed, 2 skipped");
    expect(skipReason("works [a] well")).toBe("no reason given");
  });
});

describe("scripts/test", () => {
  let place: TempDir;
  let folder: string;
  const test1 = (body: string) => `import { test } from "bun:test";\n${body}\n`;
  beforeAll(() => {
    place = tempDir();
    folder = join(place.path, "checkout");
    const files = {
      "test/good.test.ts": test1('test("a", () => {}); test.skip("b [needs c]", () => {});'),
      "test/fails.test.ts": test1('test("a", () => { throw new Error("x"); });'),
      "test/crash.test.ts": test1('test("a", () => process.kill(process.pid, "SIGKILL"));'),
      "test/load.test.ts": 'import "./missing.ts";\n',
      "test/hook.test.ts": test1(
        'import { afterAll } from "bun:test"; afterAll(() => { throw new Error("x"); }); test("a", () => {});',
      ),
      "test/empty.test.ts": "export {};\n",
    };
    makeCheckout(folder, { packages: "linked", files });
  });
  afterAll(() => place[Symbol.dispose]());

  const table: readonly [string, string, number][] = [
    ["good", "1 passed, 0 failed, 1 skipped", 0],
    ["fails", "0 passed, 1 failed", 1],
    ["crash", "0 passed, 1 failed", 1],
    ["load", "0 passed, 1 failed", 1],
    ["hook", "1 passed, 1 failed", 1],
    ["empty", "0 passed, 1 failed", 1],
    ["no-such-file", "0 passed, 1 failed", 1],
  ];
  test.each(table)("ends rightly when asked for: %s", async (filter, last, code) => {
    const ran = await run([join(folder, "scripts/test"), filter], { cwd: place.path });
    expect(ran.stdout.trimEnd().split("\n").at(-1)).toBe(last);
    expect(ran.code).toBe(code);
  });
  test("counts every static check that fails, and every file that does not load", async () => {
    // No git, no lint configuration, types and format broken: nothing here may pass unseen.
    const ran = await run([join(folder, "scripts/test")], { cwd: place.path });
    expect(ran.stdout).toContain("check commit messages  skipped: no git checkout here");
    expect(ran.stdout).toMatch(/check types\s+failed/);
    expect(ran.stdout).toMatch(/check format\s+failed/);
    expect(ran.stdout).toMatch(/check shell scripts\s+passed/);
    expect(ran.stdout).toContain("test/load.test.ts reported no test");
    expect(ran.stdout).toContain("failed checks: types, format");
    expect(ran.stdout).toContain("needs c               test/good.test.ts: b [needs c]");
    expect(ran.stdout.trimEnd().split("\n").at(-1)).toMatch(
      /^\d+ passed, [6-9] failed, 2 skipped$/,
    );
    expect(ran.code).toBe(1);
  });
});
