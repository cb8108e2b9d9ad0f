/** Reading the parser's JSON: a tree of objects whose keys are node or field names, all of them the grammar's own. */
export type Json = string | number | boolean | null | JsonArray | JsonObject;
export type JsonArray = readonly Json[];
export interface JsonObject {
  readonly [field: string]: Json;
}

export function objectOf(value: Json | undefined): JsonObject | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : null;
}

export function arrayOf(value: Json | undefined): JsonArray {
  return Array.isArray(value) ? (value as JsonArray) : [];
}

export function stringOf(value: Json | undefined): string {
  return typeof value === 'string' ? value : '';
}

/** The fields of a node of this kind: `fieldsOf({ "A_Const": {…} }, 'A_Const')`. */
export function fieldsOf(node: Json | undefined, kind: string): JsonObject | null {
  return objectOf(objectOf(node)?.[kind]);
}

/** A list of String nodes, as names are: `["pg_catalog", "nextval"]`. */
export function namesOf(list: Json | undefined): string[] {
  return arrayOf(list).map((item) => stringOf(fieldsOf(item, 'String')?.['sval']));
}

/** A string constant, also under casts (`'work_mem'::text`); `null` for anything else. */
export function constantString(node: Json | undefined): string | null {
  for (let cast = fieldsOf(node, 'TypeCast'); cast; cast = fieldsOf(node, 'TypeCast')) node = cast['arg'];
  const constant = objectOf(fieldsOf(node, 'A_Const')?.['sval']);
  // The empty string is written as no field at all.
  return constant ? stringOf(constant['sval']) : null;
}

/** An integer constant; 0 is written as no field at all. */
export function constantInteger(node: Json | undefined): number | null {
  const constant = objectOf(fieldsOf(node, 'A_Const')?.['ival']);
  if (!constant) return null;
  return typeof constant['ival'] === 'number' ? constant['ival'] : 0;
}
