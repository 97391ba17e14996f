// What dbx is made of that others wrote, and on which terms: the runtime and every package that
// the locked production dependencies reach. A compiled file carries this; a checkout looks into
// node_modules. A package without a text or on other terms is an error, so that no release has it.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Type, type Static } from "@sinclair/typebox";
import { decode } from "../api/decode.ts";

/** Gathered by scripts/build.ts, deflated, in Base64; in a compiled file only. */
declare const BUILD_LICENSES: string | undefined;

const License = Type.Object({
  name: Type.String(),
  version: Type.String(),
  license: Type.String(),
  text: Type.String(),
});
export type License = Static<typeof License>;

export function licensesHere(): License[] {
  if (typeof BUILD_LICENSES !== "string") return gatherLicenses(join(import.meta.dir, "../.."));
  const text = Bun.inflateSync(Uint8Array.fromBase64(BUILD_LICENSES));
  return decode(Type.Array(License), Bun.JSONC.parse(new TextDecoder().decode(text)));
}

/** Terms that ask for no more than their text beside the program. */
const expected = ["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT"];

/** Published under the MIT license without its text. Whoever adds one has looked at it. */
const withoutText = [
  ...["@envelop/core", "@envelop/types", "@envelop/validation-cache"],
  ...["@graphql-tools/executor", "@graphql-tools/merge", "@graphql-tools/schema"],
  ...["@graphql-tools/utils", "@repeaterjs/repeater", "@tokenizer/token"],
  ...["@whatwg-node/events", "@whatwg-node/fetch", "@whatwg-node/node-fetch"],
  "@whatwg-node/server",
];
/** Whose text those get below their own makers. */
const donor = "graphql";

/** One place of a package in node_modules, as bun.lock has it. */
export interface Locked {
  readonly name: string;
  readonly version: string;
  /** As in `sha512-…`, of the package as it was published. */
  readonly integrity: string;
  readonly folder: string;
  /** Keys of the same list. */
  readonly needs: readonly string[];
  /** Named in package.json. */
  readonly direct: boolean;
}

const names = Type.Record(Type.String(), Type.String());
const Lock = Type.Object({
  workspaces: Type.Record(Type.String(), Type.Object({ dependencies: names })),
  packages: Type.Record(Type.String(), Type.Array(Type.Unknown())),
});
const Needs = Type.Object({
  dependencies: Type.Optional(names),
  peerDependencies: Type.Optional(names),
  optionalPeers: Type.Optional(Type.Array(Type.String())),
});

/** The packages that production needs, by their key in bun.lock. */
export function lockedPackages(root: string): Map<string, Locked> {
  const { workspaces, packages } = decode(Lock, readJson(join(root, "bun.lock")));
  const found = new Map<string, Locked>();
  const named = Object.keys(workspaces[""]?.dependencies ?? {});
  const open = [...named];
  for (let key = open.pop(); key !== undefined; key = open.pop()) {
    if (found.has(key)) continue;
    const [id, , meta, integrity] = packages[key] ?? [];
    const { dependencies, peerDependencies, optionalPeers = [] } = decode(Needs, meta);
    const at = String(id).lastIndexOf("@");
    const needs = Object.keys({ ...dependencies, ...peerDependencies })
      // A peer that is asked for only where it is there anyway is a tool, such as a compiler.
      .filter((name) => !optionalPeers.includes(name))
      .map((name) => placeOf(packages, { name, from: key ?? "" }));
    found.set(key, {
      ...{ name: String(id).slice(0, at), version: String(id).slice(at + 1) },
      ...{ integrity: String(integrity), needs, direct: named.includes(key) },
      folder: partsOf(key)
        .map((name) => `node_modules/${name}`)
        .join("/"),
    });
    open.push(...needs);
  }
  return found;
}

/** `a/@b/c` is the package `@b/c` within the package `a`. */
const partsOf = (key: string): string[] => key.match(/(?:@[^/]+\/)?[^/]+/g) ?? [];

/** As modules are found: beside the one that asks, else one level up. */
function placeOf(
  packages: Readonly<Record<string, unknown>>,
  { name, from }: { name: string; from: string },
): string {
  const parts = partsOf(from);
  for (let depth = parts.length; depth >= 0; depth--) {
    const key = [...parts.slice(0, depth), name].join("/");
    if (Object.hasOwn(packages, key)) return key;
  }
  throw new Error(`${from} needs ${name}, which bun.lock does not have`);
}

/** Sorted by name. Throws at what must not be shipped. */
export function gatherLicenses(root: string): License[] {
  const all = [...lockedPackages(root).values()].map((each) => licenseOf(root, each));
  const unique = new Map(all.map((each) => [`${each.name}@${each.version}`, each]));
  const sorted = [...unique.values()].sort((left, right) => (left.name < right.name ? -1 : 1));
  return [runtimeLicense(root), ...sorted];
}

const Manifest = Type.Object({
  license: Type.Optional(Type.String()),
  licenses: Type.Optional(Type.Array(Type.Object({ type: Type.String() }))),
  author: Type.Optional(Type.Union([Type.String(), Type.Object({ name: Type.String() })])),
});

function licenseOf(root: string, { name, version, folder }: Locked): License {
  const manifest = decode(Manifest, readJson(join(root, folder, "package.json")));
  const license = manifest.license ?? manifest.licenses?.map(({ type }) => type).join(" OR ") ?? "";
  if (!expected.includes(license)) {
    throw new Error(`${name} ${version}: nobody has agreed to the license ${license || "of none"}`);
  }
  const text = textsIn(join(root, folder));
  if (text !== "") return { name, version, license, text };
  if (!withoutText.includes(name) || license !== "MIT") {
    throw new Error(`${name} ${version}: no text of its license ${license} in ${folder}`);
  }
  const { author } = manifest;
  const makers = (typeof author === "object" ? author.name : author) ?? `the authors of ${name}`;
  const whole = textsIn(join(root, "node_modules", donor));
  const terms = whole.slice(whole.indexOf("Permission is hereby granted"));
  return { name, version, license, text: `MIT License\n\nCopyright (c) ${makers}\n\n${terms}` };
}

const textsIn = (folder: string): string =>
  readdirSync(folder)
    .filter((file) => /^(?:licen[cs]e|copying|notice)/i.test(file))
    .sort()
    .map((file) => readFileSync(join(folder, file), "utf8").replaceAll("\r\n", "\n").trim())
    .join("\n\n");

/** Bun is the larger part of the file; what it is made of lies beside its types. */
function runtimeLicense(root: string): License {
  const page = join(root, "node_modules/bun-types/docs/project/license.mdx");
  if (!existsSync(page)) throw new Error(`the license of Bun is not in ${page}`);
  const text = readFileSync(page, "utf8")
    .replace(/^---\n[\s\S]*?\n---\n/, "")
    .trim();
  return { name: "bun", version: Bun.version, license: "MIT AND LGPL-2.0-only", text };
}

/** Of packages, not of events: nothing in them that must stay exact. */
const readJson = (path: string): unknown => Bun.JSONC.parse(readFileSync(path, "utf8"));
