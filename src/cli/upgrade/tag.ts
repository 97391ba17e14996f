// Tags of releases and the versions in them: what may be asked for, and which is newer.

import { invalidArgument } from "../../model/error.ts";

/** Below it there was no upgrade. */
const floor = "1.13.2";

/** Null: the latest. In: what somebody wrote. Out: a tag that is not checked yet. */
export function wantedTag(text: string): string | null {
  const name = text.trim().replace(/^@/, "");
  if (name === "" || name.toLowerCase() === "latest") return null;
  return name.startsWith("v") ? name : `v${name}`;
}

const semantic = /^\d+\.\d+\.\d+(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?(?:\+[0-9A-Za-z.-]+)?$/;

/** In: a tag. Out: its version. Throws for what is none, and for what is below the floor. */
export function versionOf(tag: string): string {
  const version = tag.replace(/^v+/, "");
  if (!semantic.test(version) || version.length > 64) {
    throw invalidArgument(`invalid version tag '${tag}'`, { tag });
  }
  if (isOlder(version, floor)) {
    throw invalidArgument(
      `upgrading to '${tag}' is not supported; minimum supported version is v${floor}`,
      { tag, minimum: `v${floor}` },
    );
  }
  return version;
}

export const isOlder = (version: string, than: string): boolean =>
  Bun.semver.order(version, than) < 0;
