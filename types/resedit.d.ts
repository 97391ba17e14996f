// The part of resedit that scripts/windows.ts and its test use. Its own types bring those of
// browsers along, which would replace Bun's everywhere in this project (tsconfig.json, paths).

interface ResourceEntry {
  readonly type: string | number;
  readonly id: string | number;
  readonly lang: string | number;
}

interface Language {
  readonly lang: number;
  readonly codepage: number;
}

export declare class NtExecutable {
  private constructor();
  static from(bytes: Uint8Array, options: { readonly ignoreCert: boolean }): NtExecutable;
  getAllSections(): { readonly info: { readonly name: string } }[];
  generate(): ArrayBuffer;
}

export declare class NtExecutableResource {
  private constructor();
  static from(executable: NtExecutable): NtExecutableResource;
  entries: ResourceEntry[];
  outputResource(executable: NtExecutable): void;
}

export declare namespace Data {
  interface Icon {
    readonly width: number;
    readonly height: number;
  }
  class IconFile {
    static from(bytes: Uint8Array): IconFile;
    readonly icons: readonly { readonly data: Icon }[];
  }
}

export declare namespace Resource {
  class IconGroupEntry {
    private constructor();
    static fromEntries(entries: readonly ResourceEntry[]): IconGroupEntry[];
    static replaceIconsForResource(
      entries: ResourceEntry[],
      id: number,
      lang: number,
      icons: readonly Data.Icon[],
    ): void;
    readonly icons: readonly { readonly width: number }[];
  }
  class VersionInfo {
    private constructor();
    static createEmpty(): VersionInfo;
    static fromEntries(entries: readonly ResourceEntry[]): VersionInfo[];
    lang: number | string;
    readonly fixedInfo: {
      fileOS: number;
      fileType: number;
      productVersionMS: number;
      productVersionLS: number;
    };
    setFileVersion(
      major: number,
      minor: number,
      micro: number,
      revision: number,
      lang: number,
    ): void;
    setProductVersion(
      major: number,
      minor: number,
      micro: number,
      revision: number,
      lang: number,
    ): void;
    setStringValues(language: Language, values: Readonly<Record<string, string>>): void;
    getStringValues(language: Language): Record<string, string>;
    outputToResourceEntries(entries: ResourceEntry[]): void;
  }
}
