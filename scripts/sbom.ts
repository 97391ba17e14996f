/**
 * The bill of materials of a release, in CycloneDX's JSON: the runtime and every locked package
 * that production needs, with licenses, digests and who needs whom. It depends on the checkout
 * alone, its time and its number included.
 */
import { createHash } from "node:crypto";
import { gatherLicenses, lockedPackages, type Locked } from "../src/cli/licenses.ts";

export interface SbomOptions {
  readonly root: string;
  readonly version: string;
  readonly commit: string;
  /** When the commit was made, in seconds. */
  readonly seconds: number;
}

const purl = ({ name, version }: { readonly name: string; readonly version: string }): string =>
  `pkg:npm/${name.replace("@", "%40")}@${version}`;

export function sbomOf({ root, version, commit, seconds }: SbomOptions): object {
  const locked = lockedPackages(root);
  const places = new Map([...locked.values()].map((each) => [purl(each), each]));
  const terms = gatherLicenses(root);
  const components = terms.map(({ name, version: found, license }) => {
    const ref = purl({ name, version: found });
    return {
      type: name === "bun" ? "platform" : "library",
      ...{ "bom-ref": ref, name, version: found, purl: ref },
      licenses: license.includes(" ") ? [{ expression: license }] : [{ license: { id: license } }],
      hashes: hashesOf(places.get(ref)),
    };
  });
  const self = `pkg:github/thachp/eventdbx@${version}`;
  const direct = [...locked.values()].filter(({ direct }) => direct).map(purl);
  const bom = {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    ...{ bomFormat: "CycloneDX", specVersion: "1.6", version: 1 },
    metadata: {
      timestamp: new Date(seconds * 1000).toISOString(),
      component: {
        ...{ type: "application", "bom-ref": self, name: "dbx", version, purl: self },
        licenses: [{ license: { id: "MIT" } }],
        properties: [{ name: "dbx:commit", value: commit }],
      },
    },
    components,
    dependencies: [
      { ref: self, dependsOn: [...new Set([purl(bunOf(terms)), ...direct])].sort() },
      ...needsOf(locked),
    ],
  };
  return { ...bom, serialNumber: `urn:uuid:${uuidOf(JSON.stringify(bom))}` };
}

function bunOf(terms: ReturnType<typeof gatherLicenses>): { name: string; version: string } {
  const bun = terms.find(({ name }) => name === "bun");
  if (bun === undefined) throw new Error("the runtime is missing among what dbx is made of");
  return bun;
}

/** One entry for each package and version, wherever it lies. */
function needsOf(locked: ReadonlyMap<string, Locked>): { ref: string; dependsOn: string[] }[] {
  const needs = new Map<string, Set<string>>();
  for (const each of locked.values()) {
    const known = needs.get(purl(each)) ?? new Set();
    for (const key of each.needs) {
      const other = locked.get(key);
      if (other !== undefined) known.add(purl(other));
    }
    needs.set(purl(each), known);
  }
  return [...needs].sort().map(([ref, dependsOn]) => ({ ref, dependsOn: [...dependsOn].sort() }));
}

/** As the lockfile pins it, in the digits that the format wants. */
function hashesOf(locked: Locked | undefined): { alg: string; content: string }[] {
  const [, digest] = /^sha512-(.+)$/.exec(locked?.integrity ?? "") ?? [];
  if (digest === undefined) return [];
  return [{ alg: "SHA-512", content: Buffer.from(digest, "base64").toString("hex") }];
}

/** Version 8 of RFC 9562: of what it stands for, so that the same bill has the same number. */
function uuidOf(text: string): string {
  const hex = createHash("sha256").update(text).digest("hex");
  const [a, b, c, d] = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(13, 16), hex.slice(17, 20)];
  return `${a}-${b}-8${c}-8${d}-${hex.slice(20, 32)}`;
}
