// Canonical JSON against the contract's tables and the examples of RFC 8785.

import { describe, expect, test } from "bun:test";
import {
  canonicalize,
  canonicalOf,
  decodeUtf8,
  splitElements,
  splitMembers,
} from "../../src/model/canonical.ts";
import { canonicalNumber, decimalOf } from "../../src/model/decimal.ts";
import { DbxError } from "../../src/model/error.ts";
import { referenceCanonical } from "../support/canonical-reference.ts";

/** Why a text is refused: the message, and the character it names. */
function refusal(text: string, envelope = 0): { message: string; offset: unknown } {
  try {
    canonicalize(text, { envelope });
  } catch (error) {
    if (error instanceof DbxError && error.code === "invalid_argument") {
      return { message: error.message, offset: error.details["offset"] };
    }
    throw error;
  }
  throw new Error(`accepted: ${text}`);
}

describe("numbers keep their exact value", () => {
  test.each([
    ["-0", "0"],
    ["-0.0", "0"],
    ["0e5", "0"],
    ["0E-9999", "0"],
    ["1.0", "1"],
    ["-1.50", "-1.5"],
    ["1e21", "1e+21"],
    ["18446744073709551616", "18446744073709551616"],
    ["1e23", "1e+23"],
    ["1.7976931348623158e308", "1.7976931348623158e308"],
    ["1e400", "1e400"],
    ["-1E+400", "-1E+400"],
    ["1e-400", "1e-400"],
    ["2e-324", "2e-324"],
    ["1.0000000000000000001", "1.0000000000000000001"],
    ["12345678901234567890e0", "12345678901234567890e0"],
    ["1E5", "100000"],
    ["0.1", "0.1"],
    ["9007199254740993", "9007199254740993"],
    ["18446744073709552000", "18446744073709552000"],
    ["0.30000000000000004", "0.30000000000000004"],
    ["0.30000000000000005", "0.30000000000000005"],
    ["5e-324", "5e-324"],
    ["0.000001", "0.000001"],
    ["0.0000001", "1e-7"],
    ["0.00000123", "0.00000123"],
    ["0.000000123", "1.23e-7"],
    ["100000000000000000000", "100000000000000000000"],
    ["1000000000000000000000", "1e+21"],
    ["999999999999999", "999999999999999"],
    ["9007199254740992", "9007199254740992"],
    ["1e20", "100000000000000000000"],
    ["1.5e300", "1.5e+300"],
    ["60.0", "60"],
    ["-100.000", "-100"],
    ["0.50", "0.5"],
    ["-0.0500", "-0.05"],
    ["12345678901234.50", "12345678901234.5"],
    ["1234567890123456.50", "1234567890123456.5"],
    ["1234567890123456.70", "1234567890123456.70"],
    ["12345678901234567.0", "12345678901234567.0"],
    ["100000000000000000000000.0", "1e+23"],
    ["1.00000000000000000010", "1.00000000000000000010"],
    ["1.0e0", "1"],
    ["12.50", "12.5"],
    ["1e-290", "1e-290"],
    ["2.20e-308", "2.2e-308"],
    ["2.5e-323", "2.5e-323"],
    ["3e-323", "3e-323"],
    ["1.00e307", "1e+307"],
  ])("%s is written as %s", (token, written) => {
    expect(canonicalize(token) as string).toBe(written);
    expect(canonicalize(`{"a":[${token}, ${token}]}`) as string).toBe(
      `{"a":[${written},${written}]}`,
    );
    expect(canonicalNumber(token)).toBe(written);
    expect(referenceCanonical(token)).toBe(written);
  });

  test.each([
    ...["01", "-01", "00", "+1", ".5", "1.", "-", "-.5", "1e", "1e+", "1.e5", "0x1f", "1_000"],
    ...["NaN", "Infinity", "-Infinity", "1.2.3", "--1", "1e5.5", "０"],
  ])("%s is refused", (token) => {
    refusal(token);
    refusal(`[${token}]`);
    expect(referenceCanonical(token)).toBeNull();
  });

  // RFC 8785 appendix B: a double's bits, and how it is written.
  test.each([
    ["0000000000000000", "0"],
    ["8000000000000000", "0"],
    ["0000000000000001", "5e-324"],
    ["8000000000000001", "-5e-324"],
    ["7fefffffffffffff", "1.7976931348623157e+308"],
    ["ffefffffffffffff", "-1.7976931348623157e+308"],
    ["4340000000000000", "9007199254740992"],
    ["c340000000000000", "-9007199254740992"],
    ["4430000000000000", "295147905179352830000"],
    ["44b52d02c7e14af5", "9.999999999999997e+22"],
    ["44b52d02c7e14af6", "1e+23"],
    ["44b52d02c7e14af7", "1.0000000000000001e+23"],
    ["444b1ae4d6e2ef4e", "999999999999999700000"],
    ["444b1ae4d6e2ef4f", "999999999999999900000"],
    ["444b1ae4d6e2ef50", "1e+21"],
    ["3eb0c6f7a0b5ed8c", "9.999999999999997e-7"],
    ["3eb0c6f7a0b5ed8d", "0.000001"],
    ["41b3de4355555553", "333333333.3333332"],
    ["41b3de4355555554", "333333333.33333325"],
    ["41b3de4355555555", "333333333.3333333"],
    ["41b3de4355555556", "333333333.3333334"],
    ["41b3de4355555557", "333333333.33333343"],
    ["becbf647612f3696", "-0.0000033333333333333333"],
    ["43143ff3c1cb0959", "1424953923781206.2"],
  ])("the double %s is written as %s", (bits, written) => {
    const double = new DataView(Uint8Array.fromHex(bits).buffer).getFloat64(0);
    expect(canonicalOf(double) as string).toBe(written);
    expect(canonicalize(written) as string).toBe(written);
  });

  test("a token of 1,100 characters is accepted and one more refused", () => {
    const longest = `0.${"1".repeat(1_098)}`;
    expect(canonicalize(longest) as string).toBe(longest);
    expect(refusal(`[${longest}1]`)).toMatchObject({ offset: 1 });
  });

  test("a decimal is its sign, its significant digits and a power of ten", () => {
    expect(decimalOf("-12.500e3")).toEqual({
      negative: true,
      digits: "125",
      exponent: 5,
    });
    expect(decimalOf("0.00e7")).toEqual({ negative: false, digits: "", exponent: 0 });
    expect(decimalOf("1000")).toEqual({ negative: false, digits: "1", exponent: 4 });
    expect(decimalOf("0.001E-2")).toEqual({ negative: false, digits: "1", exponent: -4 });
  });

  test("zeros in the middle of a token take no longer than at its end", () => {
    const digits = `1${"0".repeat(1_000)}1`;
    // Squared, it would take many seconds.
    const batch = Array.from({ length: 10_000 }, () => decimalOf(digits));
    expect(batch.every((decimal) => decimal.digits === digits)).toBe(true);
    expect(decimalOf(`1${"0".repeat(1_000)}`).digits).toBe("1");
  }, 2_000);
});

describe("texts", () => {
  test("RFC 8785 section 3.2.2: the sample is written as the RFC prints it", () => {
    const source = `{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\"\\/",
      "literals": [null, true, false]
    }`;
    // Its first number names no double exactly, so it stays as it was sent; all else is the RFC's.
    expect(canonicalize(source) as string).toBe(
      '{"literals":[null,true,false],' +
        '"numbers":[333333333.33333329,1e+30,4.5,0.002,1e-27],' +
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    );
  });

  test("RFC 8785 section 3.2.3: keys are sorted as UTF-16, where an emoji precedes U+FB33", () => {
    const source = `{
      "\\u20ac": "Euro Sign", "\\r": "Carriage Return",
      "\\ufb33": "Hebrew Letter Dalet With Dagesh",
      "1": "One", "\\ud83d\\ude00": "Emoji: Grinning Face", "\\u0080": "Control",
      "\\u00f6": "Latin Small Letter O With Diaeresis"
    }`;
    const raw = canonicalize(source);
    expect(splitMembers(raw).map(([, inner]) => String(JSON.parse(inner)))).toEqual([
      "Carriage Return",
      "One",
      "Control",
      "Latin Small Letter O With Diaeresis",
      "Euro Sign",
      "Emoji: Grinning Face",
      "Hebrew Letter Dalet With Dagesh",
    ]);
    // The same without escapes takes the byte-wise comparison.
    expect(canonicalize('{"\ufb33":1,"€":2,"😀":3,"\ue000":4,"\ud7ff":5}') as string).toBe(
      '{"€":2,"\ud7ff":5,"😀":3,"\ue000":4,"\ufb33":1}',
    );
  });

  test.each([
    [" [ 1 , 2 ] ", "[1,2]"],
    ["\t{\r\n}\n", "{}"],
    ["[ ]", "[]"],
    ['{"b":1,"a":2}', '{"a":2,"b":1}'],
    ['{"10":1,"9":2,"1":3}', '{"1":3,"10":1,"9":2}'],
    ['{"__proto__":{"b":1,"a":2},"a":1}', '{"__proto__":{"a":2,"b":1},"a":1}'],
    ['{"constructor":1,"":2}', '{"":2,"constructor":1}'],
    ['{"ab":1,"a":2,"a ":3,"a!":4}', '{"a":2,"a ":3,"a!":4,"ab":1}'],
    ['{"a\\"":1,"a":2,"A":3,"\\n":4}', '{"\\n":4,"A":3,"a":2,"a\\"":1}'],
    ['{"\\n":1,"a":2}', '{"\\n":1,"a":2}'],
    ['"\\/\\u002f\\u0041\\u00e9"', '"//Aé"'],
    ['"\\u001F\\u007f\\u2028"', '"\\u001f\u007f\u2028"'],
    ['"\\u001F"', '"\\u001f"'],
    ['"\\u0008\\u0009\\u000a\\u000c\\u000d"', '"\\b\\t\\n\\f\\r"'],
    ['"\\ud83d\\uDE00"', '"😀"'],
    ['"\u2028\u0080"', '"\u2028\u0080"'],
    ["true", "true"],
    ["null", "null"],
    ['""', '""'],
  ])("%j becomes %j", (source, written) => {
    expect(canonicalize(source) as string).toBe(written);
    expect(referenceCanonical(source)).toBe(written);
  });

  test.each([
    ["", 0],
    ["  ", 2],
    ["tru", 0],
    ["nul1", 0],
    ["[1,]", 3],
    ["[,1]", 1],
    ["[1 2]", 3],
    ["[1", 2],
    ['{"a":1,}', 7],
    ['{"a" 1}', 5],
    ['{"a":1 "b":2}', 7],
    ["{a:1}", 1],
    ['{"a":', 5],
    ["[]]", 2],
    ["1 2", 2],
    ['"abc', 4],
    ['"é😀', 4],
    ['"a\\', 2],
    ['"a\nb"', 2],
    ['"\\x41"', 1],
    ['"\\u12g4"', 1],
    ['"\\u00e9\u0001"', 7],
    ["'a'", 0],
    ["// comment\n1", 0],
    ["\u00a01", 0],
    ["\u00001", 0],
    ["1\u0000", 1],
    ["\ufeff1", 0],
  ])("%j is refused at character %i (from 0)", (source, offset) => {
    expect(refusal(source)).toMatchObject({ offset });
    expect(referenceCanonical(source)).toBeNull();
  });

  test.each([
    ['{"a":1,"a":1}', 7],
    ['{"b":1,"a":1,"b":2}', 13],
    ['{"a":1,"\\u0061":2}', 7],
    ['{"\\n":1,"\\u000A":2}', 8],
    ['{"x":{"é":1,"c":0,"é":2}}', 18],
    [`{${Array.from({ length: 60 }, (_, n) => `"k${n % 59}":0`).join(",")}}`, 463],
  ])("%j has a key twice", (source, offset) => {
    expect(refusal(source)).toEqual({ message: expect.stringContaining("twice"), offset });
  });

  test.each([
    '"\ud800"',
    '"\udc00x"',
    '{"\ud83d":1}',
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\ud83dx"',
    '"\\ud83d\\u0041"',
    '"\\ud83d\\ud7ff"',
    '"\\ud83d\\ue000"',
    '"\\ud83d\\n"',
  ])("the lone surrogate in %j is refused", (source) => {
    expect(refusal(source).message).toContain("lone surrogate");
  });

  test("128 levels are accepted and 129 refused, whatever they are made of", () => {
    const nest = (levels: number) =>
      Array.from({ length: levels }, (_, level) => (level % 2 === 0 ? "[" : '{"a":')).join("") +
      "1" +
      Array.from({ length: levels }, (_, level) => ((levels - level) % 2 === 1 ? "]" : "}")).join(
        "",
      );
    expect(canonicalize(nest(128)) as string).toBe(nest(128));
    expect(refusal(nest(129)).message).toContain("deeper than 128 levels");
    // An envelope is not counted, and what is within it is refused in the same words.
    expect(canonicalize(nest(131), { envelope: 3 }) as string).toBe(nest(131));
    expect(refusal(nest(132), 3).message).toContain("deeper than 128 levels");
    // Depth counts what is open, not what was.
    expect(canonicalize(`[${"[],".repeat(200)}[]]`).length).toBe(604);
  });

  test("a text that is canonical already comes back as the same string", () => {
    const source = '{"a":1,"b":["x",{"c":null}],"é":"😀"}';
    expect(canonicalize(source) as string).toBe(source);
  });

  test("a refusal leaves nothing behind for the next text", () => {
    refusal('{"b":[[["\\u0041');
    expect(canonicalize('{"b":1,"a":2}') as string).toBe('{"a":2,"b":1}');
  });
});

describe("size", () => {
  test.each([1, 63, 64, 65, 66, 127, 128, 129, 1_000, 400_000])(
    "a string of %i characters is copied, with escapes and without",
    (length) => {
      for (const filler of ["x", "x y", "é", "😀x", "\\n", "aaaaaaaaaaaa\\\\bbbbb\\u0041"]) {
        const source = `{"b":"${filler.repeat(Math.ceil(length / filler.length))}","a":1}`;
        expect(canonicalize(source) as string).toBe(referenceCanonical(source) ?? "refused");
      }
      expect(refusal(`["${"x".repeat(length)}\u0001"]`)).toMatchObject({ offset: length + 2 });
      expect(refusal(`["${"x".repeat(length)}`)).toMatchObject({ offset: length + 2 });
    },
  );

  test("numbers that grow find room, in small texts and large ones", () => {
    for (const count of [1, 100, 60_000]) {
      const list = (token: string) => `[${Array(count).fill(token).join(",")}]`;
      expect(canonicalize(`{"b":${list("1e20")},"a":${list("1e5")}}`) as string).toBe(
        `{"a":${list("100000")},"b":${list(`1${"0".repeat(20)}`)}}`,
      );
    }
  });

  test("a refusal of a text that needs larger buffers leaves nothing behind either", () => {
    const long = "x".repeat(500_000);
    expect(refusal(`{"é":"${long}`)).toMatchObject({ offset: 500_006 });
    expect(canonicalize(`{"b":"${long}","a":"é"}`) as string).toBe(`{"a":"é","b":"${long}"}`);
    expect(canonicalize('{"b":1,"a":2}') as string).toBe('{"a":2,"b":1}');
  });

  test("an object of 20,000 members is sorted, and a small text afterwards is as well", () => {
    const keys = Array.from({ length: 20_000 }, (_, n) => `k${(n * 7_919) % 20_000}`);
    const written = canonicalize(`{${keys.map((key) => `"${key}":{"b":1,"a":2}`).join(", ")}}`);
    expect(splitMembers(written).map(([key]) => key)).toEqual([...keys].sort());
    expect(canonicalize('{"b":1,"a":2}') as string).toBe('{"a":2,"b":1}');
  });
});

describe("bytes", () => {
  test("UTF-8 is decoded", () => {
    expect(decodeUtf8(new TextEncoder().encode('"é😀"'))).toBe('"é😀"');
    expect(decodeUtf8(new Uint8Array())).toBe("");
  });

  test.each(["efbbbf31", "ff", "22c322", "c080", "eda080", "edbfbf", "f4908080", "e282", "80"])(
    "%s is refused",
    (hex) => {
      expect(() => decodeUtf8(Uint8Array.fromHex(hex))).toThrow(DbxError);
    },
  );
});

describe("parts of a canonical text", () => {
  test("members and elements come out as they stand, and go in again", () => {
    const source = canonicalize(
      '{"a\\"b":{"x":[1,"}"]},"c":"a,b","d":[],"e":-1.5,"__proto__":null}',
    );
    const members = splitMembers(source);
    expect(members as [string, string][]).toEqual([
      ["__proto__", "null"],
      ['a"b', '{"x":[1,"}"]}'],
      ["c", '"a,b"'],
      ["d", "[]"],
      ["e", "-1.5"],
    ]);
    const written = members.map(([key, inner]) => `${JSON.stringify(key)}:${inner}`);
    expect(`{${written.join(",")}}`).toBe(source);
    expect(splitElements(canonicalize('[1,[2,"]"],{"a":","},"\\\\"]')) as string[]).toEqual([
      "1",
      '[2,"]"]',
      '{"a":","}',
      '"\\\\"',
    ]);
    expect(splitMembers(canonicalize("{}"))).toEqual([]);
    expect(splitElements(canonicalize("[]"))).toEqual([]);
  });
});
