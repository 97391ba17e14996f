// How a schema of the operation table is shown: the same rules in JSON Schema's words alone.

import { describe, expect, test } from "bun:test";
import { Type } from "@sinclair/typebox";
import fc from "fast-check";
import { createSchemas } from "../../src/api/openapi/schemas.ts";
import { ExactJson, isText, Named, Text, textFault } from "../../src/model/kinds.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(performance.timeOrigin + performance.now()));
const show = (schema: Parameters<ReturnType<typeof createSchemas>["show"]>[0]) =>
  createSchemas().show(schema);

describe("a schema is shown", () => {
  test.each([
    [Type.Integer({ minimum: 1 }), { type: "integer", minimum: 1, format: "int64" }],
    [Type.Null(), { type: "null" }],
    [Type.Unknown({ description: "x" }), { description: "x" }],
    [ExactJson("Any."), { description: "Any." }],
    [Type.String({ pattern: "^a$", fault: "must be a" }), { type: "string", pattern: "^a$" }],
    [Type.Literal("ok"), { type: "string", const: "ok" }],
    [
      Type.Union([Type.Literal("a"), Type.Literal("b")], { description: "x" }),
      { description: "x", type: "string", enum: ["a", "b"] },
    ],
    [
      Type.Union([Type.Integer(), Type.Literal("any")]),
      {
        anyOf: [
          { type: "integer", format: "int64" },
          { type: "string", enum: ["any"] },
        ],
      },
    ],
    [Type.Union([Type.String(), Type.Null()]), { anyOf: [{ type: "string" }, { type: "null" }] }],
    [
      Named(Type.Boolean(), { reserved: true }),
      { type: "object", additionalProperties: { type: "boolean" } },
    ],
    [
      Type.Object({ a: Type.Optional(Type.Array(Type.Boolean(), { maxItems: 2 })) }),
      {
        type: "object",
        properties: { a: { type: "array", maxItems: 2, items: { type: "boolean" } } },
      },
    ],
  ])("%j as %j", (schema, shown) => expect<object>(show(schema)).toEqual(shown));

  test("by its name where it has one, once, wherever it lies", () => {
    const { show: showAll, named } = createSchemas();
    const inner = Type.Object({ a: Type.String() }, { $id: "Inner" });
    const ref = { $ref: "#/components/schemas/Inner" };
    expect<object>(showAll(Type.Array(inner))).toEqual({ type: "array", items: ref });
    expect<object>(showAll(inner)).toEqual(ref);
    expect(Object.keys(named)).toEqual(["Inner"]);
    expect(JSON.stringify(named["Inner"])).not.toContain("$id");
  });
});

test(`a name is one by its pattern exactly where the gate takes it (SEED=${seed})`, () => {
  const schema = Text({ description: "x", minLength: 1, maxLength: 4, name: true });
  if (!isText(schema)) throw new Error("a text is a text");
  const { pattern, minLength, maxLength } = show(schema);
  const form = new RegExp(String(pattern), "u");
  const unit = fc.oneof(
    fc.constantFrom(" ", "\t", "\n", "\u0085", "\u00a0", "\u2028", "\ufeff", "\u0000", "😀", "a"),
    fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
  );
  fc.assert(
    fc.property(fc.string({ unit, maxLength: 6 }), (text) => {
      const length = [...text].length;
      const fits = form.test(text) && length >= Number(minLength) && length <= Number(maxLength);
      expect([text, fits]).toEqual([text, textFault(schema, text) === null]);
    }),
    { seed, numRuns: 2_000 },
  );
});
