// A contract as google.protobuf.FileDescriptorProto. protobufjs can make one by itself, but names
// the entries of maps and marks optional fields in ways that other readers refuse.

import protobuf from "protobufjs";
import type { Codec } from "./codec.ts";

/** What the file of a package is called: `dbx/api.proto`. */
export const fileName = (packageName: string): string =>
  `${packageName.replaceAll(".", "/")}.proto`;

/** In: the package and its name. Out: the descriptor of a file that holds all of it. */
export function describe(
  file: Codec,
  { space, packageName }: { space: protobuf.NamespaceBase; packageName: string },
): Buffer {
  const members = space.nestedArray;
  return file.encode({
    name: fileName(packageName),
    package: packageName,
    message_type: members.filter((member) => member instanceof protobuf.Type).map(messageOf),
    enum_type: members.filter((member) => member instanceof protobuf.Enum).map(enumOf),
    service: members.filter((member) => member instanceof protobuf.Service).map(serviceOf),
    syntax: "proto3",
  });
}

const label = { optional: 1, repeated: 3 } as const;

const types: Readonly<Record<string, number>> = {
  int64: 3,
  uint64: 4,
  int32: 5,
  bool: 8,
  string: 9,
  message: 11,
  bytes: 12,
  uint32: 13,
  enum: 14,
};

function messageOf(type: protobuf.Type): object {
  // Those that stand for a single optional field come last, as every reader expects.
  const oneofs = type.oneofsArray.toSorted((a, b) => Number(isImplied(a)) - Number(isImplied(b)));
  const nested = type.nestedArray;
  return {
    name: type.name,
    field: type.fieldsArray.map((field) => fieldOf(field, oneofs)),
    nested_type: [
      ...nested.filter((member) => member instanceof protobuf.Type).map(messageOf),
      ...type.fieldsArray.filter((field) => field instanceof protobuf.MapField).map(entryOf),
    ],
    enum_type: nested.filter((member) => member instanceof protobuf.Enum).map(enumOf),
    oneof_decl: oneofs.map(({ name }) => ({ name })),
  };
}

const isOptional = (field: protobuf.Field): boolean => field.options?.["proto3_optional"] === true;
const isImplied = (oneof: protobuf.OneOf): boolean => oneof.fieldsArray.some(isOptional);

function fieldOf(field: protobuf.Field, oneofs: readonly protobuf.OneOf[]): object {
  const { name, id: number, partOf } = field;
  const typed = field.map
    ? { type: types["message"], type_name: `${field.parent?.fullName}.${entryName(field)}` }
    : typeOf(field);
  return {
    ...{ name, number, ...typed },
    label: field.repeated || field.map ? label.repeated : label.optional,
    oneof_index: partOf === null ? null : oneofs.indexOf(partOf),
    ...(isOptional(field) ? { proto3_optional: true } : {}),
  };
}

function typeOf(field: protobuf.Field): object {
  const { resolvedType } = field.resolve();
  if (resolvedType === null) return { type: types[field.type] };
  const kind = resolvedType instanceof protobuf.Enum ? "enum" : "message";
  return { type: types[kind], type_name: resolvedType.fullName };
}

/** A map is a list of such messages: `state` becomes `StateEntry`. */
const entryName = ({ name }: protobuf.Field): string =>
  `${name.replaceAll(/(?:^|_)([a-z])/g, (_, first: string) => first.toUpperCase())}Entry`;

const entryOf = (field: protobuf.Field & Pick<protobuf.MapField, "keyType">): object => ({
  name: entryName(field),
  field: [
    { name: "key", number: 1, label: label.optional, type: types[field.keyType] },
    { name: "value", number: 2, label: label.optional, ...typeOf(field) },
  ],
  options: { map_entry: true },
});

const enumOf = ({ name, values }: protobuf.Enum): object => ({
  name,
  value: Object.entries(values).map(([value, number]) => ({ name: value, number })),
});

const serviceOf = ({ name, methodsArray }: protobuf.Service): object => ({
  name,
  method: methodsArray.map((method) => ({
    name: method.name,
    input_type: method.resolvedRequestType?.fullName,
    output_type: method.resolvedResponseType?.fullName,
    client_streaming: method.requestStream === true,
    server_streaming: method.responseStream === true,
  })),
});
