// scripts/eventdbx-installer.ps1, on machines that have no PowerShell: the grammar reads it, and
// rules hold what can be told from the text. Where PowerShell is here, it reads the script itself.

import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/root.ts";
import { assetOf, targets } from "../../scripts/targets.ts";
import { commands } from "../../src/cli/cli.ts";
import { powershellScript } from "../../src/cli/completions/powershell.ts";
import { treeRows } from "../../src/cli/tree.ts";
import { run } from "../support/checkout.ts";
import { installerText as shellText } from "../support/installer.ts";
import { openGrammar, type Parsed } from "../support/powershell.ts";

const path = join(root, "scripts/eventdbx-installer.ps1");
const text = readFileSync(path, "utf8");
let parse: (text: string) => Parsed;
let script: Parsed;
beforeAll(async () => {
  parse = await openGrammar();
  script = parse(text);
});

/** What PowerShell 5 has, and this script may use. None of them runs a text. */
const cmdlets = [
  ...["Add-Content", "Add-Type", "Get-ChildItem", "Get-Command", "Get-Date", "Get-FileHash"],
  ...["Get-ItemProperty", "Invoke-RestMethod", "Invoke-WebRequest", "Join-Path", "Move-Item"],
  ...["New-Item", "New-Object", "Out-Null", "Remove-Item", "Set-ItemProperty", "Set-StrictMode"],
  ...["Test-Path", "Where-Object", "Write-Host", "Write-Warning"],
];
/** Variables that are there without being given a value. */
const automatic = [
  ...["_", "null", "true", "false", "matches", "home", "psversiontable", "executioncontext"],
];
const commandsOf = (name: string) =>
  script.functions.find((each) => each.name === name)?.commands ?? [];
/** Who calls it, anywhere. */
const callersOf = (command: string) =>
  script.functions.filter(({ commands }) => commands.includes(command)).map(({ name }) => name);

describe("the script for PowerShell", () => {
  test("is PowerShell, and so are the completions", async () => {
    expect(script.faults).toEqual([]);
    expect(script.functions.length).toBeGreaterThan(25);
    expect(parse(powershellScript(await treeRows(commands))).faults).toEqual([]);
  });
  test("is none where it was cut, so a part of it runs nothing", () => {
    const block = text.indexOf("& {");
    const end = text.lastIndexOf("} @{");
    expect([block > 0, end > block]).toEqual([true, true]);
    for (let part = 1; part <= 20; part++) {
      const cut = block + 4 + Math.floor(((end - block - 4) * part) / 20);
      expect([cut, parse(text.slice(0, cut)).faults.length > 0]).toEqual([cut, true]);
    }
    // In front of the block are parameters and nothing that does anything.
    expect(parse(text.slice(0, block)).commands).toEqual([]);
  });
  test("calls what it defines or what PowerShell 5 has, and defines nothing in vain", () => {
    const own = script.functions.map(({ name }) => name);
    const foreign = script.commands.filter((name) => ![...own, ...cmdlets].includes(name));
    expect(foreign).toEqual([]);
    expect(own.filter((name) => !script.commands.includes(name))).toEqual([]);
    expect(new Set(own).size).toBe(own.length);
  });
  test("reads no variable that nothing gives a value to", () => {
    const known = [...automatic, ...script.assigned.map((name) => name.toLowerCase())];
    const unknown = script.variables.filter(
      (name) => !name.startsWith("env:") && !known.includes(name.toLowerCase()),
    );
    expect(unknown).toEqual([]);
  });
  test("checks before it unpacks, tries before it moves, and has no other way", () => {
    const steps = ["Find-Release", "Save-Archive", "Assert-Checksum", "Expand-Dbx", "Set-Dbx"];
    const order = commandsOf("Install-Dbx").filter((name) => steps.includes(name));
    expect(order).toEqual(steps);
    const tried = commandsOf("Install-Dbx").indexOf("Get-DbxVersion");
    expect(tried).toBeGreaterThan(commandsOf("Install-Dbx").indexOf("Expand-Dbx"));
    expect(tried).toBeLessThan(commandsOf("Install-Dbx").indexOf("Set-Dbx"));

    for (const step of steps) expect(callersOf(step)).toEqual(["Install-Dbx"]);
    expect(callersOf("Move-Item")).toEqual(["Move-Aside", "Set-Dbx"]);
    expect(callersOf("Invoke-WebRequest")).toEqual(["Save-File"]);
    expect(callersOf("Get-FileHash")).toEqual(["Assert-Checksum"]);
    expect(commandsOf("Assert-Checksum").filter((name) => name === "Stop-Installing").length).toBe(
      2,
    );
  });
  test("runs no text, and programs only by their file", () => {
    // The list above has none that would. Left are the signs that call, and methods.
    const code = text.replaceAll(/^ *#.*$/gm, "");
    expect(code.match(/(?:^|[\s(|;{])[&.] /gm)).toEqual(["\n& "]);
    expect(code).not.toMatch(/scriptblock|\.Invoke|::Create|DownloadString|\bexit\b/i);
    expect(text).toContain("[Net.SecurityProtocolType]::Tls12");
  });
  test("has lines of at most 100 columns, no sign beyond ASCII, and says what it is first", () => {
    // PowerShell 5 reads a file without a mark as text of the machine's code page.
    expect(text).toMatch(/^[\n\u0020-\u007e]+$/);
    expect(text.split("\n").filter((line) => line.length > 100)).toEqual([]);
    expect(text).toStartWith("# Installs dbx on Windows");
  });

  test.skipIf(Bun.which("pwsh") === null)("is read by PowerShell itself [needs pwsh]", async () => {
    const code = `$faults = $null
[void][Management.Automation.Language.Parser]::ParseFile('${path}', [ref]$null, [ref]$faults)
$faults | ForEach-Object { $_.Message }`;
    const argv = ["pwsh", "-NoLogo", "-NoProfile", "-NonInteractive", "-Command", code];
    expect(await run(argv, { cwd: root })).toMatchObject({ code: 0, stdout: "", stderr: "" });
  });
});

describe("both installers", () => {
  const helpOf = (whole: string, first: string, last: string) =>
    whole.slice(whole.indexOf(first), whole.indexOf(last, whole.indexOf(first)));
  const help = helpOf(text, "Installs dbx, an", "'@");

  test("take the same of the environment, and say so", () => {
    const namesIn = (part: string) =>
      [...new Set(part.match(/\b(?:EVENTDBX|DBX)_[A-Z_]+\b/g))].sort();
    const shell = helpOf(shellText, "Installs dbx, an", "\nEND");
    expect(namesIn(help)).toEqual(namesIn(shell));
    expect(namesIn(help).length).toBeGreaterThan(7);
    const read = script.commands.includes("Get-Setting") ? text.split(help).join("") : "";
    for (const name of namesIn(help)) expect(read).toContain(name.replace("EVENTDBX_", ""));
  });
  test("of PowerShell has every parameter in its help", () => {
    const block = text.slice(text.indexOf("param("), text.indexOf("& {"));
    const parameters = [...block.matchAll(/\$(\w+)/g)].map(([, name]) => `-${name} `);
    expect(parameters.length).toBe(8);
    for (const parameter of parameters) expect(help).toContain(parameter);
    for (const parameter of parameters) {
      expect(text.slice(text.lastIndexOf("} @{"))).toContain(`${parameter.slice(1)}= $`);
    }
  });
  test("know every archive of a release between them", () => {
    const windows = targets.filter(({ executable }) => executable === "dbx.exe");
    expect(windows.length).toBeGreaterThan(0);
    for (const target of windows) expect(text).toContain(`'${assetOf(target).slice(9)}'`);
  });
});
