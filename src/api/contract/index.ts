import { Type, type Static } from 'typebox';

export const Index = Type.Object({
  state: Type.Union(
    [Type.Literal('running'), Type.Literal('waiting'), Type.Literal('failing'), Type.Literal('stopped')],
    { description: 'waiting: for the store; failing: for something else, see failure. Both try again' },
  ),
  failure: Type.String({ description: 'empty when running' }),
  next_seq: Type.Integer({
    minimum: 0,
    description: 'everything before this position of the journal is indexed',
  }),
  journal_seq: Type.Integer({
    minimum: 0,
    description: 'the position after the newest event of the journal',
  }),
});
export type Index = Static<typeof Index>;
