// The version of this dbx, from the one place where it is written. The bundler puts it into the
// compiled file.

import manifest from "../package.json";

export const version: string = manifest.version;
