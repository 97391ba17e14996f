/**
 * The Windows installer: dbx.exe in the programs of the machine, and its folder at the end of
 * everybody's PATH. Made on Linux by msitools, which write neither environment variables nor the
 * same bytes twice; both is seen to here.
 */
import { createHash } from "node:crypto";
import {
  copyFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { drawIcon } from "./icon.ts";

export interface MsiOptions {
  readonly program: string;
  readonly version: string;
  /** When the commit was made, in seconds. */
  readonly seconds: number;
}

/** What EventDBX 1 was installed as: an installation of that is upgraded, not doubled. */
const upgradeCode = "C3705B3F-CA2E-4B74-AB5A-66924BD9CFD6";
const componentCode = "9C0B6A55-0E0C-4C36-8E52-3B1D6A4F7E21";
const maker = "Patrick Thach and contributors";

export const msiTools = ["wixl", "msibuild"] as const;

export async function msiOf(options: MsiOptions): Promise<Uint8Array> {
  const { program, seconds } = options;
  for (const tool of msiTools) {
    if (Bun.which(tool) === null) throw new Error(`${tool} is missing; install wixl and msitools`);
  }
  const folder = mkdtempSync(join(tmpdir(), "dbx-msi-"));
  try {
    copyFileSync(program, join(folder, "dbx.exe"));
    writeFileSync(join(folder, "dbx.ico"), drawIcon());
    // The time of the file is in the archive.
    utimesSync(join(folder, "dbx.exe"), seconds, seconds);
    writeFileSync(join(folder, "dbx.wxs"), description(options));
    writeFileSync(join(folder, "Environment.idt"), environment.join("\r\n"));
    const packageCode = codeOf(`package ${options.version}`, readFileSync(program));
    const steps = [
      ["wixl", "--arch", "x64", "--output", "dbx.msi", "dbx.wxs"],
      ["msibuild", "dbx.msi", "-i", "Environment.idt"],
      ...sequence.map((query) => ["msibuild", "dbx.msi", "-q", query]),
      ["msibuild", "dbx.msi", "-s", "eventdbx", maker, "x64;1033", `{${packageCode}}`],
    ];
    for (const step of steps) await runIn(folder, step);
    return timed(readFileSync(join(folder, "dbx.msi")), seconds);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runIn(cwd: string, command: readonly string[]): Promise<void> {
  const child = Bun.spawn([...command], { cwd, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) !== 0) throw new Error(`${command.join(" ")}: ${stdout}${stderr}`);
}

const description = ({ version }: MsiOptions): string => `<?xml version="1.0" encoding="utf-8"?>
<Wix xmlns="http://schemas.microsoft.com/wix/2006/wi">
  <Product Id="${codeOf(`product ${version}`)}" Name="eventdbx" UpgradeCode="${upgradeCode}"
           Language="1033" Version="${version}" Manufacturer="${maker}">
    <Package InstallerVersion="450" Compressed="yes" InstallScope="perMachine"/>
    <MajorUpgrade DowngradeErrorMessage="A newer eventdbx is installed; remove it first."/>
    <Media Id="1" Cabinet="dbx.cab" EmbedCab="yes"/>
    <Icon Id="dbx.ico" SourceFile="dbx.ico"/>
    <Property Id="ARPPRODUCTICON" Value="dbx.ico"/>
    <Property Id="ARPHELPLINK" Value="https://github.com/thachp/eventdbx"/>
    <Directory Id="TARGETDIR" Name="SourceDir">
      <Directory Id="ProgramFiles64Folder">
        <Directory Id="APPLICATIONFOLDER" Name="eventdbx">
          <Directory Id="Bin" Name="bin">
            <Component Id="Program" Guid="${componentCode}" Win64="yes">
              <File Id="dbx.exe" Name="dbx.exe" Source="dbx.exe" KeyPath="yes"/>
            </Component>
          </Directory>
        </Directory>
      </Directory>
    </Directory>
    <Feature Id="Application" Title="dbx" Level="1" Absent="disallow"
             ConfigurableDirectory="APPLICATIONFOLDER">
      <ComponentRef Id="Program"/>
    </Feature>
  </Product>
</Wix>
`;

/** A table as text: set when installed, removed with it, of the system, behind what is there. */
const environment = [
  "Environment\tName\tValue\tComponent_",
  "s72\tl255\tL255\ts72",
  "Environment\tEnvironment",
  "Path\t=-*PATH\t[~];[Bin]\tProgram",
  "",
];
/** Where Windows wants these two steps among the others. */
const sequence = [
  ["RemoveEnvironmentStrings", 3300],
  ["WriteEnvironmentStrings", 5200],
].map(
  ([action, at]) =>
    `INSERT INTO \`InstallExecuteSequence\` (\`Action\`, \`Sequence\`) VALUES ('${action}', ${at})`,
);

/** A GUID of what it stands for: the same for the same. */
function codeOf(text: string, bytes: Uint8Array = new Uint8Array()): string {
  const hex = createHash("sha256").update(`dbx ${text}\0`).update(bytes).digest("hex");
  const [a, b, c, d] = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(13, 16), hex.slice(17, 20)];
  return `${a}-${b}-8${c}-8${d}-${hex.slice(20, 32)}`.toUpperCase();
}

const typeOfTime = 0x40;
/** From 1601 to 1970, in seconds. */
const epoch_s = 11_644_473_600n;

/** The two times at which it was made and saved, in hundreds of nanoseconds, become the commit's. */
function timed(msi: Buffer, seconds: number): Buffer {
  const wanted = (BigInt(seconds) + epoch_s) * 10_000_000n;
  const now = (BigInt(Math.round(performance.timeOrigin / 1000)) + epoch_s) * 10_000_000n;
  const day = 86_400n * 10_000_000n;
  let changed = 0;
  for (let at = 0; at + 12 <= msi.length; at += 4) {
    if (msi.readUInt32LE(at) !== typeOfTime) continue;
    const value = msi.readBigUInt64LE(at + 4);
    if (value < now - day || value > now + day) continue;
    msi.writeBigUInt64LE(wanted, at + 4);
    changed++;
  }
  if (changed !== 2) throw new Error(`the installer has ${changed} times, not two`);
  return msi;
}
