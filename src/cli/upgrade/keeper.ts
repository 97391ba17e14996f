// Who else looks after the executable: a package manager, or an image. What they put there they
// replace, so `dbx upgrade` says how instead of doing it behind their back.

import { failedPrecondition } from "../../model/error.ts";
import type { Shell } from "../shell.ts";

interface Keeper {
  readonly name: string;
  readonly remedy: string;
}

/** By where the file lies; slashes lean forward. */
const places: readonly (Keeper & { readonly pattern: RegExp })[] = [
  { pattern: /^\/nix\/store\//, name: "Nix", remedy: "upgrade it with Nix" },
  { pattern: /\/Cellar\/[^/]+\//, name: "Homebrew", remedy: "run brew upgrade" },
  { pattern: /^\/snap\//, name: "snap", remedy: "run snap refresh" },
  {
    pattern: /^\/(?:usr\/)?s?bin\//,
    name: "the system's package manager",
    remedy: "upgrade the package (apt, dnf, apk, pacman)",
  },
  { pattern: /\/scoop\/apps\//i, name: "Scoop", remedy: "run scoop update" },
  { pattern: /\/WinGet\/Packages\//i, name: "WinGet", remedy: "run winget upgrade" },
  { pattern: /\/chocolatey\//i, name: "Chocolatey", remedy: "run choco upgrade" },
  {
    pattern: /\/Program Files\/eventdbx\//i,
    name: "the Windows installer",
    remedy: "install the new .msi over it",
  },
];

/** Null where nobody does. An image or a package says so in `DBX_INSTALLED_BY`. */
export function keeperOf(path: string, env: Shell["env"]): Keeper | null {
  const said = env["DBX_INSTALLED_BY"]?.trim() ?? "";
  if (/^(?:docker|podman|image)$/i.test(said)) {
    return { name: "a container's image", remedy: "pull the new image and start it instead" };
  }
  if (said !== "") return { name: said, remedy: `upgrade it with ${said}` };
  return places.find(({ pattern }) => pattern.test(path.replaceAll("\\", "/"))) ?? null;
}

/** Throws where somebody else looks after the file. */
export function requireOwn(path: string, env: Shell["env"]): void {
  const keeper = keeperOf(path, env);
  if (keeper === null) return;
  throw failedPrecondition(
    `${path} belongs to ${keeper.name}: ${keeper.remedy}; --force replaces it nevertheless`,
    { path, keeper: keeper.name },
  );
}
