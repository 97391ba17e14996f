/**
 * Reads what `bun test` wrote as JUnit and counts it. Pure, so that the one thing everybody relies
 * on, that a failure is never lost between the suite and the last line, is tested itself.
 */

export interface Skip {
  readonly file: string;
  readonly name: string;
  readonly reason: string;
}

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skips: readonly Skip[];
  /** Seconds per test file, slowest first. */
  readonly files: readonly { readonly file: string; readonly seconds: number }[];
}

export interface Run {
  /** The report, or undefined when the runner died before it wrote one. */
  readonly xml: string | undefined;
  /** Undefined when a signal ended the runner. */
  readonly exitCode: number | undefined;
  /** Files that must appear in the report; one that did not load is missing from it. */
  readonly expected: readonly string[];
}

export function countTests(run: Run): { counts: Counts; problems: string[] } {
  const counts = readReport(run.xml ?? "");
  const problems: string[] = [];
  const seen = new Set(counts.files.map(({ file }) => file));
  for (const file of run.expected) {
    if (!seen.has(file)) problems.push(`${file} reported no test: it failed to load or is empty`);
  }
  const executed = counts.passed + counts.failed;
  if (run.exitCode === undefined) problems.push("bun test was ended by a signal");
  else if (run.xml === undefined) problems.push("bun test ended without a report");
  else if (executed === 0 && problems.length === 0) problems.push("no test was executed");
  // A failing hook or an error between tests has no test case of its own, only the exit code.
  const clean = counts.failed === 0 && problems.length === 0;
  if (run.exitCode !== undefined && run.exitCode !== 0 && clean) {
    problems.push(`bun test exited with ${run.exitCode} although no test case failed`);
  }
  return { counts: { ...counts, failed: counts.failed + problems.length }, problems };
}

function readReport(xml: string): Counts {
  let passed = 0;
  let failed = 0;
  const skips: Skip[] = [];
  const files = new Map<string, number>();
  for (const { tag, attributes, body } of elements(xml)) {
    const file = attributes.get("file") ?? "?";
    if (tag === "testsuite") {
      // Nested suites are `describe` blocks; the outermost one is the file.
      if (attributes.get("name") === file) files.set(file, Number(attributes.get("time") ?? 0));
    } else if (body.includes("<failure") || body.includes("<error")) failed += 1;
    else if (body.includes("<skipped")) {
      const name = attributes.get("name") ?? "?";
      skips.push({ file, name, reason: skipReason(name) });
    } else passed += 1;
  }
  const slowest = [...files].map(([file, seconds]) => ({ file, seconds }));
  return { passed, failed, skips, files: slowest.sort((a, b) => b.seconds - a.seconds) };
}

/** A test that can be skipped says why at the end of its name: "… [needs strace]". */
export function skipReason(name: string): string {
  return /\[([^\]]+)\]\s*$/.exec(name)?.[1] ?? "no reason given";
}

interface Element {
  readonly tag: string;
  readonly attributes: ReadonlyMap<string, string>;
  readonly body: string;
}

/** Bun escapes `<` and `>` in values, so an expression over the text is enough. */
function* elements(xml: string): Generator<Element> {
  const pattern = /<testsuite\s([^>]*)>|<testcase\s([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g;
  for (const match of xml.matchAll(pattern)) {
    const [, suite, testcase, body] = match;
    const attributes = new Map<string, string>();
    for (const [, name, value] of (suite ?? testcase ?? "").matchAll(/([\w-]+)="([^"]*)"/g)) {
      if (name !== undefined && value !== undefined) attributes.set(name, unescapeXml(value));
    }
    yield { tag: suite === undefined ? "testcase" : "testsuite", attributes, body: body ?? "" };
  }
}

function unescapeXml(text: string): string {
  return text
    .replaceAll(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code)))
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"')
    .replaceAll("&apos;", "'")
    .replaceAll("&amp;", "&");
}

export function lastLine(counts: { passed: number; failed: number; skipped: number }): string {
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : "";
  return `${counts.passed} passed, ${counts.failed} failed${skipped}`;
}
