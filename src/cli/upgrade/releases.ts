// What has been released: the latest, one by its tag, and the list. The place says it in GitHub's
// JSON, and what goes wrong is told in the words that EventDBX 1 had for it.

import { Type, type Static } from "@sinclair/typebox";
import { decode } from "../../api/decode.ts";
import { fromJson } from "../../api/json.ts";
import { canonicalize } from "../../model/canonical.ts";
import { DbxError, notFound, unavailable } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import type { Source } from "./source.ts";
import { versionOf } from "./tag.ts";

const absent = Type.Null();

const Release = Type.Object({
  tag_name: Type.String({ maxLength: 200 }),
  name: Type.Optional(Type.Union([Type.String(), absent])),
  published_at: Type.Optional(Type.Union([Type.String(), absent])),
  html_url: Type.Optional(Type.Union([Type.String(), absent])),
  draft: Type.Optional(Type.Boolean()),
  prerelease: Type.Optional(Type.Boolean()),
  assets: Type.Optional(
    Type.Array(Type.Object({ name: Type.String(), browser_download_url: Type.String() }), {
      maxItems: limits.upgrade_assets_max,
    }),
  ),
});
export type Release = Static<typeof Release>;

const Page = Type.Array(Release);

/** The release, and the version that its tag says. Null: the latest. */
export async function findRelease(
  source: Source,
  tag: string | null,
): Promise<{ readonly release: Release; readonly version: string }> {
  if (tag !== null) versionOf(tag);
  const what = tag === null ? "latest tag" : `tag ${tag}`;
  const text = await source
    .read(tag === null ? "/latest" : `/tags/${encodeURIComponent(tag)}`)
    .catch(
      inWords({
        contact: `failed to contact GitHub releases API for ${what}`,
        refused:
          tag === null
            ? "GitHub returned an error when fetching the latest release"
            : `GitHub returned an error when fetching tag ${tag}`,
      }),
    );
  if (text === null) {
    throw tag === null
      ? notFound(`no releases found for EventDBX`, { source: source.base })
      : notFound(`release '${tag}' was not found on GitHub`, { tag, source: source.base });
  }
  const release = parsed(Release, text, {
    source,
    words:
      tag === null
        ? "failed to parse GitHub latest release response"
        : `failed to parse GitHub response for tag ${tag}`,
  });
  return { release, version: versionOf(release.tag_name) };
}

/** The newest first, as the place lists them. */
export async function listReleases(source: Source, count: number): Promise<Release[]> {
  // The same for every page: page 2 begins where page 1 of this size ends.
  const size = Math.min(count, limits.upgrade_page_releases);
  const found = new Map<string, Release>();
  for (let page = 1; page <= Math.ceil(count / size); page++) {
    const text = await source.read(`?per_page=${size}&page=${page}`).catch(
      inWords({
        contact: `failed to list GitHub releases (page ${page})`,
        refused: `GitHub returned an error listing releases (page ${page})`,
      }),
    );
    if (text === null) break;
    const words = `failed to parse GitHub releases response (page ${page})`;
    const before = found.size;
    // What is published meanwhile moves the rest on: one that was seen comes again.
    for (const release of parsed(Page, text, { source, words })) {
      if (!found.has(release.tag_name)) found.set(release.tag_name, release);
    }
    if (found.size === before) break;
  }
  return [...found.values()].slice(0, count);
}

/** The reason of the error behind what it kept dbx from. */
const inWords =
  ({ contact, refused }: { readonly contact: string; readonly refused: string }) =>
  (cause: unknown): never => {
    if (!(cause instanceof DbxError)) throw cause;
    const what = "status" in cause.details ? refused : contact;
    throw new DbxError(cause.code, `${what}: ${cause.message}`, cause.details, { cause });
  };

function parsed<Schema extends typeof Release | typeof Page>(
  schema: Schema,
  text: string,
  { source, words }: { readonly source: Source; readonly words: string },
): Static<Schema> {
  try {
    return decode(schema, fromJson(schema, canonicalize(text)));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw unavailable(`${words}: ${why}`, { source: source.base }, { cause });
  }
}
