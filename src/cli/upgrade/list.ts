// How releases are shown: one line each, or JSON.

import type { Release } from "./releases.ts";

export function releaseLine({ tag_name, published_at, draft, prerelease }: Release): string {
  const marks = [
    ...(prerelease === true ? ["prerelease"] : []),
    ...(draft === true ? ["draft"] : []),
  ];
  return [tag_name, published_at ?? "", marks.length === 0 ? "" : `[${marks.join(", ")}]`]
    .filter((part) => part !== "")
    .join("  ");
}

export const releaseValue = (release: Release) => ({
  tag: release.tag_name,
  name: release.name ?? null,
  published_at: release.published_at ?? null,
  draft: release.draft ?? false,
  prerelease: release.prerelease ?? false,
  html_url: release.html_url ?? null,
});
