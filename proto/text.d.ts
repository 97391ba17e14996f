// What `import … with { type: "text" }` gives for a contract: the file becomes a part of dbx.

declare module "*.proto" {
  const text: string;
  export default text;
}
