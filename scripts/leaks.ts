/**
 * Words that belong to one machine and must not leave it: paths of a build machine, hosts of
 * package registries. Asked about every file and about every commit message.
 */

// Put together here, so that this file does not hold what it looks for.
const folders = ["wo|rk", "fa|rm"];
const hosts = ["registry.npm|js", "registry.yarn|pkg", "npm|mirror", "pypi.|org"];
const whole = (parts: readonly string[]) => parts.map((part) => part.replace("|", ""));
const hostNames = whole(hosts).map((host) => RegExp.escape(host));
const pattern = new RegExp(
  `(?<![\\w./-])/(?:${whole(folders).join("|")})/|${hostNames.join("|")}`,
  "g",
);

export function leaksIn(text: string): { found: string; line: number }[] {
  return [...text.matchAll(pattern)].map((match) => ({
    found: match[0],
    line: text.slice(0, match.index).split("\n").length,
  }));
}
