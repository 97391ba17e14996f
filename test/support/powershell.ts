// PowerShell as its grammar sees it, for machines that have no PowerShell: where a text is none,
// and which commands, functions and variables it has.

import { join } from "node:path";
import { Language, Parser, type Node } from "web-tree-sitter";
import { root } from "../../scripts/root.ts";

export interface Parsed {
  /** Where the text is no PowerShell: lines, from 1 on, with what stands there. */
  readonly faults: readonly string[];
  readonly commands: readonly string[];
  readonly functions: readonly DefinedFunction[];
  /** As they are named, without the sign: those that are given a value, and all. */
  readonly assigned: readonly string[];
  readonly variables: readonly string[];
}

export interface DefinedFunction {
  readonly name: string;
  /** In the order in which they stand in it. */
  readonly commands: readonly string[];
}

/** Gets the grammar; what it gives reads one text after the other. */
export async function openGrammar(): Promise<(text: string) => Parsed> {
  await Parser.init();
  const grammar = join(root, "node_modules/tree-sitter-powershell/tree-sitter-powershell.wasm");
  const language = await Language.load(grammar);
  const parser = new Parser();
  parser.setLanguage(language);
  return (text) => {
    const tree = parser.parse(text);
    if (tree === null) throw new Error("the grammar gave up");
    const nodes = everyNode(tree.rootNode);
    const faults = nodes.filter((node) => node.isError || node.isMissing);
    return {
      faults: faults.map((node) => `${node.startPosition.row + 1}: ${node.text.slice(0, 60)}`),
      commands: textsOf(nodes, "command_name"),
      functions: nodes
        .filter(({ type }) => type === "function_statement")
        .map((node) => ({
          name: textsOf(everyNode(node), "function_name")[0] ?? "",
          commands: textsOf(everyNode(node), "command_name"),
        })),
      assigned: nodes.filter(isAssigned).map(nameOf),
      variables: nodes.filter(({ type }) => type === "variable").map(nameOf),
    };
  };
}

const everyNode = (node: Node): Node[] => [node, ...node.children.flatMap(everyNode)];

const textsOf = (nodes: readonly Node[], type: string): string[] =>
  nodes.filter((node) => node.type === type).map(({ text }) => text);

const nameOf = ({ text }: Node): string => text.replace(/^[$@]\{?/, "").replace(/\}$/, "");

/** On the left of an assignment, a parameter, or what a loop gives. */
function isAssigned(node: Node): boolean {
  if (node.type !== "variable") return false;
  const { parent } = node;
  if (parent?.type === "script_parameter" || parent?.type === "foreach_statement") return true;
  for (let at: Node | null = node; at !== null; at = at.parent) {
    if (at.type === "left_assignment_expression")
      return at.text === node.text || !node.text.includes(".");
    if (at.type === "statement_list" || at.type === "pipeline") return false;
  }
  return false;
}
