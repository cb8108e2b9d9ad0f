/**
 * Requests are checked with the compiled TypeBox schema of their route: bodies as they are, paths and queries after
 * conversion from text. Nothing is dropped, added or coerced in a body.
 */
import type { FastifySchemaCompiler } from 'fastify';
import type { TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { Settings } from 'typebox/system';
import { ValidationError, type FieldError } from './problems.ts';

const NAMES: Readonly<Record<string, string>> = {
  body: 'body',
  params: 'path',
  querystring: 'query',
  headers: 'headers',
};

/** Said once each, whatever a hostile body could provoke. */
const MAX_REPORTED = 20;

// One wrong field of a union counts several times. The library stops at 8 unless told.
Settings.Set({ maxErrors: 100 });

export const validatorCompiler: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  const validator = Compile(schema);
  const where = NAMES[httpPart ?? 'body'] ?? 'request';
  return (value: unknown) => {
    const converted: unknown = httpPart === 'body' ? value : validator.Convert(value);
    if (validator.Check(converted)) return { value: converted };
    return { error: new ValidationError(where, fieldErrors(validator.Errors(converted))) };
  };
};

interface SchemaError {
  readonly keyword: string;
  readonly instancePath: string;
  readonly params: object;
  readonly message: string;
}

/** The schema library's errors as sentences per field: no repetition, never the value that was sent. */
function fieldErrors(errors: readonly SchemaError[]): FieldError[] {
  const found = new Map<string, string>();
  for (const error of errors) {
    if (found.size >= MAX_REPORTED) break;
    for (const [field, message] of explain(error)) if (!found.has(field)) found.set(field, message);
  }
  return [...found].map(([field, message]) => ({ field, message }));
}

function explain(error: SchemaError): [string, string][] {
  const path = fieldName(error.instancePath);
  const params = error.params as {
    additionalProperties?: string[];
    requiredProperties?: string[];
    pattern?: string | RegExp;
  };
  switch (error.keyword) {
    // A forbidden property is reported by its own name, below.
    case 'boolean':
      return [];
    case 'additionalProperties':
      return (params.additionalProperties ?? []).map((name) => [
        join(path, name.slice(0, 100)),
        'there is no such field',
      ]);
    case 'required':
      return (params.requiredProperties ?? []).map((name) => [join(path, name), 'is missing']);
    case 'pattern':
      return [[path, 'does not have the right form']];
    case 'format':
      return [[path, 'must be a time like 2026-01-31T12:00:00Z']];
    default:
      return [[path, error.message]];
  }
}

function fieldName(pointer: string): string {
  return pointer.slice(1).replaceAll('/', '.');
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}
