// A language model of 100 kB, made here because real ones come from hubs: one layer of the llama
// architecture that says the alphabet on. Its answer is known, whatever computes it.

const EMBEDDING = 64;
const HEADS = 2;
const FEED_FORWARD = 64;
const CONTEXT = 512;

// Kinds of tokens and of values, as GGUF numbers them.
const [NORMAL, UNKNOWN, CONTROL, BYTE] = [1, 2, 3, 6];
const [UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY] = [4, 5, 6, 7, 8, 9];
const ALIGNMENT = 32;

const LETTERS = [...'abcdefghijklmnopqrstuvwxyz'];
/** Longer pieces show that the tokenizer merges: `opus` becomes one token, over `op` and `us`. */
const TOKENS = [
  ['<unk>', UNKNOWN],
  ['<s>', CONTROL],
  ['</s>', CONTROL],
  ['<0x0A>', BYTE],
  ['▁', NORMAL],
  ...['op', 'us', 'opus', ...LETTERS].map((piece) => [piece, NORMAL]),
];

/** The bytes of the model as a GGUF file. */
export function tinyGguf() {
  const tensors = weights();
  const fields = metadata();
  const head = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(fields.length)];
  for (const [key, type, value] of fields) head.push(text(key), u32(type), encode(type, value));
  let offset = 0;
  for (const [name, shape, values] of tensors) {
    head.push(text(name), u32(shape.length), ...shape.map(u64), u32(0), u64(offset));
    offset += padded(values.byteLength);
  }
  const start = Buffer.concat(head);
  return Buffer.concat([
    start,
    Buffer.alloc(padded(start.length) - start.length),
    ...tensors.flatMap(([, , values]) => [
      Buffer.from(values.buffer),
      Buffer.alloc(padded(values.byteLength) - values.byteLength),
    ]),
  ]);
}

function metadata() {
  return [
    ['general.architecture', STRING, 'llama'],
    ['general.name', STRING, 'alphabet'],
    ['general.alignment', UINT32, ALIGNMENT],
    ['llama.context_length', UINT32, CONTEXT],
    ['llama.embedding_length', UINT32, EMBEDDING],
    ['llama.block_count', UINT32, 1],
    ['llama.feed_forward_length', UINT32, FEED_FORWARD],
    ['llama.attention.head_count', UINT32, HEADS],
    ['llama.attention.layer_norm_rms_epsilon', FLOAT32, 1e-5],
    ['llama.rope.dimension_count', UINT32, EMBEDDING / HEADS],
    ['tokenizer.ggml.model', STRING, 'llama'],
    ['tokenizer.ggml.tokens', ARRAY, [STRING, TOKENS.map(([piece]) => piece)]],
    // The longer a piece, the earlier it is merged.
    ['tokenizer.ggml.scores', ARRAY, [FLOAT32, TOKENS.map(([piece]) => piece.length)]],
    ['tokenizer.ggml.token_type', ARRAY, [INT32, TOKENS.map(([, kind]) => kind)]],
    ['tokenizer.ggml.unknown_token_id', UINT32, 0],
    ['tokenizer.ggml.bos_token_id', UINT32, 1],
    ['tokenizer.ggml.eos_token_id', UINT32, 2],
    ['tokenizer.ggml.add_bos_token', BOOL, false],
    ['tokenizer.ggml.add_space_prefix', BOOL, false],
  ];
}

/**
 * A letter's embedding is a direction of its own, and the output reads it as the next letter. The
 * layer between is not zero, so that it is computed, but too faint to change what comes out.
 */
function weights() {
  const embedding = new Float32Array(TOKENS.length * EMBEDDING);
  const output = new Float32Array(TOKENS.length * EMBEDDING);
  const id = (letter) => TOKENS.findIndex(([piece]) => piece === letter);
  for (const [index] of TOKENS.entries()) embedding[index * EMBEDDING + index] = 1;
  for (const [index, letter] of LETTERS.entries()) {
    const next = LETTERS[(index + 1) % LETTERS.length];
    output[id(next) * EMBEDDING + id(letter)] = 1;
  }
  const ones = () => new Float32Array(EMBEDDING).fill(1);
  const matrix = (name, rows) => [`blk.0.${name}.weight`, [EMBEDDING, rows], faint(rows)];
  return [
    ['token_embd.weight', [EMBEDDING, TOKENS.length], embedding],
    ['output_norm.weight', [EMBEDDING], ones()],
    ['output.weight', [EMBEDDING, TOKENS.length], output],
    ['blk.0.attn_norm.weight', [EMBEDDING], ones()],
    ['blk.0.ffn_norm.weight', [EMBEDDING], ones()],
    ...['attn_q', 'attn_k', 'attn_v', 'attn_output'].map((name) => matrix(name, EMBEDDING)),
    ...['ffn_gate', 'ffn_up', 'ffn_down'].map((name) => matrix(name, FEED_FORWARD)),
  ];
}

function faint(rows) {
  return Float32Array.from({ length: rows * EMBEDDING }, (_, index) => Math.sin(index) / 100);
}

function encode(type, value) {
  if (type === STRING) return text(value);
  if (type === BOOL) return Buffer.from([value ? 1 : 0]);
  if (type === FLOAT32) return Buffer.from(Float32Array.of(value).buffer);
  if (type === UINT32 || type === INT32) return u32(value);
  const [of, values] = value;
  return Buffer.concat([u32(of), u64(values.length), ...values.map((one) => encode(of, one))]);
}

function u32(value) {
  return Buffer.from(Uint32Array.of(value).buffer);
}

function u64(value) {
  return Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
}

function text(value) {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}

function padded(length) {
  return Math.ceil(length / ALIGNMENT) * ALIGNMENT;
}
