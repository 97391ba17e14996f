// The configuration file dbx makes: every key with its description and its default, commented
// out, so that the file says what can be set and sets nothing.

import { configKeys } from "./keys.ts";
import { writeToml } from "./toml.ts";

export function newConfigText(): string {
  const lines = [
    "# Configuration of dbx. A key that is commented out has the value shown.",
    "# Environment (EVENTDBX_PAGE_LIMIT, ...) and flags (--page-limit) win over this file.",
  ];
  let table = "";
  for (const { name, schema, reserved } of configKeys) {
    // Tables by names that nobody knows beforehand have no line to show.
    if (reserved || schema["type"] === "object") continue;
    const [owner = "", member] = name.split(".");
    if (member !== undefined && owner !== table) {
      table = owner;
      lines.push("", `[${table}]`);
    }
    lines.push("", `# ${String(schema["description"] ?? "")}`);
    const fallback: unknown = schema["default"];
    lines.push(
      fallback === undefined
        ? `# ${member ?? name} =`
        : `# ${writeToml({ [member ?? name]: fallback })}`,
    );
  }
  return `${lines.join("\n")}\n`;
}
