/** The folder of this checkout, for scripts that are started from anywhere. */
import { realpathSync } from "node:fs";

export const root = realpathSync(`${import.meta.dir}/..`);
