// Shells that complete: the script of `dbx completions`, loaded into the real shell, and what that
// offers for a line whose last word is being typed.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/root.ts";

export interface Completing {
  /** In: lines up to the cursor. Out: what is offered for each, sorted. */
  readonly offers: (
    script: string,
    lines: readonly string[],
    folder: string,
  ) => Promise<string[][]>;
}

async function talk(command: readonly string[], env: Record<string, string>): Promise<string> {
  const child = Bun.spawn([...command], {
    cwd: env["HOME"] ?? root,
    env: { PATH: process.env["PATH"] ?? "", TERM: "dumb", LANG: "C.UTF-8", ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: 20_000,
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  const code = await child.exited;
  if (code !== 0 || stderr !== "") throw new Error(`${command[0]} ended with ${code}: ${stderr}`);
  return stdout;
}

/** Each line's offers end with a line of their own. */
const listsOf = (text: string): string[][] =>
  text
    .split("--end--\n")
    .slice(0, -1)
    .map((part) => [...new Set(part.split("\n").filter((word) => word.trim() !== ""))].sort());

/** Bash cuts a line at blanks, and at `=` and `:` where they stand. */
const bashWords = (line: string): string[] =>
  line.split(" ").flatMap((word) => (word === "" ? [""] : word.split(/([=:]+)/).filter(Boolean)));

export const bash: Completing = {
  async offers(script, lines, folder) {
    writeFileSync(join(folder, "dbx.bash"), script);
    const tries = lines.map((line) => {
      const words = bashWords(line);
      const quoted = words.map((word) => `'${word}'`).join(" ");
      return `COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}; COMPREPLY=(); _dbx
printf '%s\\n' "\${COMPREPLY[@]}"; echo --end--`;
    });
    const test = ["set -u", "source ./dbx.bash", "complete -p dbx >/dev/null", ...tries];
    return listsOf(await talk(["bash", "-c", test.join("\n")], { HOME: folder }));
  },
};

export const fish: Completing = {
  async offers(script, lines, folder) {
    writeFileSync(join(folder, "dbx.fish"), script);
    const tries = lines.map((line) => `complete -C '${line}'; echo --end--`);
    const test = ["source ./dbx.fish", ...tries].join("\n");
    const text = await talk(["fish", "--no-config", "-c", test], { HOME: folder });
    // What a word is stands behind it.
    return listsOf(text.replaceAll(/\t.*$/gm, ""));
  },
};

/** Within zsh: each word that is offered goes to a file before it goes to the line. */
const zshInside = `setopt no_auto_list no_auto_menu no_beep
autoload -Uz compinit
compinit -u -D
source ./dbx.zsh
compadd() {
  local -a offered
  # Called with these, it fills an array for its caller and offers nothing.
  if [[ \${argv[1,(i)--]} != *-[OAD]\\ * ]]; then
    builtin compadd -O offered "$@"
    print -rl -- $offered >>offered
  fi
  builtin compadd "$@"
}
completed() { zle complete-word; print -r -- '<completed>' }
zle -N completed
bindkey '^I' completed
print -r -- '<re''ady>'
`;

export const zsh: Completing = {
  async offers(script, lines, folder) {
    writeFileSync(join(folder, "dbx.zsh"), script);
    writeFileSync(join(folder, "inside.zsh"), zshInside);
    // A shell completes on a terminal only, and zsh brings one.
    const tries = lines.map(
      (line) => `: >offered
zpty -w -n shell '${line}'$'\\t'
zpty -r shell reply '*<completed>*'
cat offered; echo --end--
zpty -w -n shell $'\\C-u'`,
    );
    const start = [
      ...["zmodload zsh/zpty", "zpty shell zsh -f -i", "zpty -w shell 'source ./inside.zsh'"],
      "zpty -r shell reply '*<ready>*'",
    ];
    const test = [...start, ...tries, "zpty -d shell"].join("\n");
    return listsOf(await talk(["zsh", "-f", "-c", test], { HOME: folder }));
  },
};

export const powershell: Completing = {
  async offers(script, lines, folder) {
    writeFileSync(join(folder, "dbx.ps1"), script);
    const tries = lines.map(
      (
        line,
      ) => `(TabExpansion2 -inputScript '${line}' -cursorColumn ${line.length}).CompletionMatches |
  ForEach-Object { $_.CompletionText }
'--end--'`,
    );
    const test = [". ./dbx.ps1", ...tries].join("\n");
    const command = ["pwsh", "-NoLogo", "-NoProfile", "-NonInteractive", "-Command", test];
    return listsOf((await talk(command, { HOME: folder })).replaceAll("\r", ""));
  },
};
