// The version of this dbx, from the one place where it is written. The bundler puts it into the
// compiled file; a build may be told another one, so that an upgrade from one to the next is tried.

import manifest from "../package.json";

declare const BUILD_VERSION: string | undefined;

export const version: string = typeof BUILD_VERSION === "string" ? BUILD_VERSION : manifest.version;
