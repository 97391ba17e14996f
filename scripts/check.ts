/**
 * What `scripts/test` runs: the static checks, then the suite, then one line that counts both.
 * A step that crashes, hangs or runs nothing counts as failed; nothing here can end in silence.
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { leaksIn } from "./leaks.ts";
import { countTests, lastLine, type Counts } from "./report.ts";
import { root } from "./root.ts";
import { runtimeOf } from "./runtimes.ts";
import { targets } from "./targets.ts";

const bun = process.execPath;
/**
 * Longer than the whole suite may take on a machine half as fast as usual, where it took 16.5
 * minutes: a hanging step must end the run, not the patience.
 */
const step_ms_max = 45 * 60_000;
/** Two cores is the smallest machine that is tested on; more workers make timings flaky there. */
const workers = 2;
/** Bun's 5 s are too short for a child process on a machine that is busy with other work. */
const test_ms_max = 30_000;

type Verdict = "passed" | "failed" | { readonly skipped: string };
interface Check {
  readonly name: string;
  readonly run: () => Promise<Verdict>;
}

const checks: readonly Check[] = [
  { name: "types", run: () => command([bun, "check", "--no-script"]) },
  { name: "format", run: () => command([bun, "fmt", "--check", "--no-script"]) },
  { name: "lint", run: () => command([bun, "node_modules/oxlint/bin/oxlint", "--deny-warnings"]) },
  { name: "commit messages", run: checkCommits },
  { name: "shell scripts", run: checkShellScripts },
];

async function main(args: readonly string[]): Promise<number> {
  const started = performance.now();
  const verdicts = args.length > 0 ? [] : await runChecks();
  await getRuntimes(args);
  const counts = await runTests(args);
  const skipped = verdicts.filter((verdict) => typeof verdict === "object").length;
  const total = {
    passed: counts.passed + verdicts.filter((verdict) => verdict === "passed").length,
    failed: counts.failed + verdicts.filter((verdict) => verdict === "failed").length,
    skipped: counts.skips.length + skipped,
  };
  printDetails(counts, performance.now() - started);
  const broken = checks.filter((_, index) => verdicts[index] === "failed");
  if (broken.length > 0) print(`failed checks: ${broken.map(({ name }) => name).join(", ")}`);
  print(lastLine(total));
  return total.failed === 0 ? 0 : 1;
}

async function runChecks(): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  for (const check of checks) {
    const started = performance.now();
    const verdict = await check.run().catch((cause: unknown): Verdict => {
      print(String(cause));
      return "failed";
    });
    const words = typeof verdict === "object" ? `skipped: ${verdict.skipped}` : verdict;
    print(`check ${check.name.padEnd(16)} ${words} (${seconds(performance.now() - started)})`);
    verdicts.push(verdict);
  }
  return verdicts;
}

/** Runs one tool; its output matters only when it fails. */
async function command(argv: readonly string[]): Promise<Verdict> {
  const { code, output } = await capture(argv);
  if (code === 0) return "passed";
  print(`$ ${argv.join(" ").replaceAll(`${root}/`, "")}\n${output.trimEnd()}`);
  if (code === undefined) print("ended by a signal or by the time limit");
  return "failed";
}

async function capture(argv: readonly string[]): Promise<{ code?: number; output: string }> {
  const child = Bun.spawn([...argv], {
    cwd: root,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: cleanEnvironment(),
    timeout: step_ms_max,
    killSignal: "SIGKILL",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  await child.exited;
  const output = stdout + stderr;
  return child.signalCode === null && child.exitCode !== null
    ? { code: child.exitCode, output }
    : { output };
}

/** Commits since the last tag before this one, else all: a release is never judged again. */
async function checkCommits(): Promise<Verdict> {
  if (Bun.which("git") === null) return { skipped: "git is not installed" };
  const inside = await capture(["git", "rev-parse", "--show-toplevel"]);
  if (inside.code !== 0 || inside.output.trim() !== root)
    return { skipped: "no git checkout here" };
  const tag = await capture(["git", "describe", "--tags", "--abbrev=0", "HEAD^"]);
  const from = tag.code === 0 ? ["--from", tag.output.trim()] : [];
  const range = [...from, "--to", "HEAD"];
  const shape = await command([bun, "node_modules/@commitlint/cli/cli.js", ...range]);
  const revisions = tag.code === 0 ? `${tag.output.trim()}..HEAD` : "HEAD";
  const log = await capture(["git", "log", "--format=%h %s%n%b", revisions]);
  const leaks = leaksIn(log.output);
  for (const { found } of leaks) print(`a commit message holds ${found}, which is of one machine`);
  return shape === "passed" && log.code === 0 && leaks.length === 0 ? "passed" : "failed";
}

async function checkShellScripts(): Promise<Verdict> {
  const scripts: { file: string; shell: string }[] = [];
  for (const file of new Bun.Glob("{scripts,.ci}/**/*").scanSync({ cwd: root, dot: true })) {
    const shell = /^#!.*\b(bash|sh)\b/.exec(readFileSync(`${root}/${file}`, "utf8"))?.[1];
    if (shell !== undefined) scripts.push({ file, shell });
  }
  if (scripts.length === 0) throw new Error("no shell script found: the pattern is wrong");
  let verdict: Verdict = "passed";
  for (const { file, shell } of scripts) {
    if (Bun.which(shell) === null) print(`${file}: not checked, ${shell} is not installed`);
    else if ((await command([shell, "-n", file])) !== "passed") verdict = "failed";
  }
  if (Bun.which("shellcheck") === null) {
    print("shellcheck is not installed: syntax only");
  } else if ((await command(["shellcheck", ...scripts.map(({ file }) => file)])) !== "passed") {
    verdict = "failed";
  }
  return verdict;
}

/**
 * Tests talk to this machine alone, so what those of the build need from npm is got before them.
 * Without it they skip.
 */
async function getRuntimes(args: readonly string[]): Promise<void> {
  const builds = "test/release/targets.test.ts";
  const wanted = args.length === 0 || args.some((arg) => builds.includes(arg));
  if (!wanted || !existsSync(`${root}/${builds}`)) return;
  const started = performance.now();
  const found = await Promise.allSettled(targets.map(runtimeOf));
  const missing = targets.filter((_, index) => found[index]?.status === "rejected");
  const words =
    missing.length === 0 ? "here" : `missing: ${missing.map(({ bun }) => bun).join(" ")}`;
  print(`runtimes of other platforms ${words} (${seconds(performance.now() - started)})`);
}

async function runTests(args: readonly string[]): Promise<Counts> {
  const folder = `${root}/dist/test-${process.pid}`;
  mkdirSync(folder, { recursive: true });
  const outfile = `${folder}/junit.xml`;
  const options = [`--parallel=${workers}`, `--timeout=${test_ms_max}`, "--reporter=junit"];
  const argv = [bun, "--no-env-file", "test", ...options, `--reporter-outfile=${outfile}`, ...args];
  const child = Bun.spawn(argv, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    env: cleanEnvironment(),
    timeout: step_ms_max,
    killSignal: "SIGKILL",
  });
  await child.exited;
  const report = Bun.file(outfile);
  const xml = (await report.exists()) ? await report.text() : undefined;
  rmSync(folder, { recursive: true });
  const expected = args.length > 0 ? [] : [...new Bun.Glob("test/**/*.test.ts").scanSync(root)];
  const exitCode = child.signalCode === null ? (child.exitCode ?? undefined) : undefined;
  const { counts, problems } = countTests({ xml, exitCode, expected });
  for (const problem of problems) print(`failed: ${problem}`);
  return counts;
}

/** A developer's own database settings must not decide what the suite sees. */
function cleanEnvironment(): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith("EVENTDBX_")),
  );
}

function printDetails(counts: Counts, ms: number): void {
  print("\nslowest files:");
  for (const { file, seconds: taken } of counts.files.slice(0, 8)) {
    print(`  ${taken.toFixed(1).padStart(6)} s  ${file}`);
  }
  if (counts.skips.length > 0) print(`\n${counts.skips.length} skipped:`);
  for (const { file, name, reason } of counts.skips)
    print(`  ${reason.padEnd(20)}  ${file}: ${name}`);
  print(`\ntook ${seconds(ms)}`);
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

process.exitCode = await main(process.argv.slice(2));
