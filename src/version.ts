// The version of this dbx, from the one place where it is written, and what it was built from and
// for. The bundler puts all of it into the compiled file; a build may be told another version, so
// that an upgrade from one to the next is tried.

import manifest from "../package.json";

declare const BUILD_VERSION: string | undefined;
declare const BUILD_COMMIT: string | undefined;
declare const BUILD_TARGET: string | undefined;

export const version: string = typeof BUILD_VERSION === "string" ? BUILD_VERSION : manifest.version;

/** With `+` behind it where tracked files differed; empty outside a checkout and without a build. */
export const commit: string = typeof BUILD_COMMIT === "string" ? BUILD_COMMIT : "";

/** The triple of the platform that it was compiled for; empty when run from a checkout. */
export const target: string = typeof BUILD_TARGET === "string" ? BUILD_TARGET : "";
