/**
 * What must be so before a release: the top of the changelog is its version, everything is
 * committed, and its tag is free or already means this commit. And what is taken from there: the
 * notes, the commit and its time.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface ReleaseState {
  readonly version: string;
  /** `v` and the version. */
  readonly tag: string;
  /** In full. */
  readonly commit: string;
  /** When it was made, in seconds. */
  readonly seconds: number;
  /** Of this version, from the changelog. */
  readonly notes: string;
  /** Why this must not be released, in words; empty where it may be. */
  readonly faults: readonly string[];
}

export async function releaseState(root: string): Promise<ReleaseState> {
  const { version }: { version: string } = JSON.parse(
    readFileSync(join(root, "package.json"), "utf8"),
  );
  const tag = `v${version}`;
  const changelog = readFileSync(join(root, "CHANGELOG.md"), "utf8");
  const [, top = "", notes = ""] = /^## (.+)\n([\s\S]*?)(?=^## |(?![\s\S]))/m.exec(changelog) ?? [];
  const commit = await git(root, ["rev-parse", "HEAD"]);
  const seconds = Number(await git(root, ["log", "-1", "--format=%ct"]));
  const faults = [
    ...headingFaults(top, version),
    ...((await git(root, ["status", "--porcelain"])) === ""
      ? []
      : ["something is not committed; see git status"]),
    ...(await tagFaults(root, { tag, commit })),
  ];
  return { version, tag, commit, seconds, notes: `${notes.trim()}\n`, faults };
}

function headingFaults(top: string, version: string): string[] {
  const [first, rest] = [top.split(" ")[0], top.slice(version.length)];
  if (first !== version) {
    return [`the top of CHANGELOG.md is ${JSON.stringify(top)}, not ${version} of package.json`];
  }
  if (/unreleased/i.test(rest)) return [`the top of CHANGELOG.md still says ${rest.trim()}`];
  return [];
}

/** A tag that somebody may have fetched is never moved. */
async function tagFaults(
  root: string,
  { tag, commit }: Pick<ReleaseState, "tag" | "commit">,
): Promise<string[]> {
  const here = await git(root, ["tag", "--list", "--format=%(objectname) %(*objectname)", tag]);
  const remotes = (await git(root, ["remote"])).split("\n").filter((name) => name !== "");
  const there = await Promise.all(
    remotes.map(async (name) => ({
      place: `at ${name}`,
      lines: await git(root, ["ls-remote", "--tags", name, `refs/tags/${tag}*`]),
    })),
  );
  return [{ place: "here", lines: here }, ...there].flatMap(({ place, lines }) => {
    // An annotated tag is an object of its own, which says what it means.
    if (lines === "" || lines.includes(commit)) return [];
    return [`the tag ${tag} is another commit ${place}`];
  });
}

export async function git(root: string, args: readonly string[]): Promise<string> {
  const child = Bun.spawn(["git", ...args], {
    ...{ cwd: root, stdin: "ignore", stdout: "pipe", stderr: "pipe" },
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) !== 0) throw new Error(`git ${args.join(" ")}: ${stderr.trim()}`);
  return stdout.trim();
}
