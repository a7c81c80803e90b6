// Gossamer workers in AssemblyScript, for the ABI job1.
//
// A worker imports this file, hands `serve` one function, and exports the module's functions:
//
//     import { Job, Outcome, Value, serve } from "./job1";
//     export { alloc, handle, job_abi } from "./job1";
//     serve((job: Job): Outcome => Outcome.completed(Value.map().set("hello", job.topic)));
//
// A job is read into one tree of values, whichever encoding it came in (JSON or msgpack); the
// outcome goes out in the same one, and so do requests to the host. A number with a fraction keeps
// its JSON text, so a worker hands it on unchanged. Nothing is null: what is absent is a value of
// kind Null. AssemblyScript has no exceptions; what goes wrong at the host is a code to look at.
//
// house: long because a worker takes the SDK along as one file.

/** ABI.md §2. */
const DEPTH_MAX: i32 = 64;

/** ABI.md §1: no sentence of the host is longer. */
const MESSAGE_BYTES_MAX: i32 = 1024;

@external("job1", "log") declare function hostLog(level: i32, at: usize, length: i32): void;
@external("job1", "now") declare function hostNow(): i64;
@external("job1", "random") declare function hostRandom(at: usize, length: i32): void;
@external("job1", "call")
declare function hostCall(op: usize, opLength: i32, input: usize, inputLength: i32): i32;
@external("job1", "take") declare function hostTake(at: usize, max: i32): i32;

// ---- values ----

export enum Kind { Null, Bool, Int, Double, String, Array, Map }

const NO_MEMBERS: Value[] = [];
const NO_NAMES: string[] = [];

/** One JSON value. Reading never fails: a value of another kind answers the fallback. To put a
 * member into a value that is no array or map traps. */
export class Value {
  private integer: i64 = 0;
  private number: f64 = 0;
  /** Of a String; or of a Double, as it was written in JSON. */
  private text: string = "";
  private members: Value[] = NO_MEMBERS;
  private names: string[] = NO_NAMES;

  private constructor(readonly kind: Kind) {}

  static null(): Value { return new Value(Kind.Null); }

  static array(): Value {
    const made = new Value(Kind.Array);
    made.members = [];
    return made;
  }

  static map(): Value {
    const made = new Value(Kind.Map);
    made.members = [];
    made.names = [];
    return made;
  }

  static bool(value: bool): Value {
    const made = new Value(Kind.Bool);
    made.integer = i64(value);
    return made;
  }

  static int(value: i64): Value {
    const made = new Value(Kind.Int);
    made.integer = value;
    return made;
  }

  /** `value` must be finite. */
  static double(value: f64): Value {
    const made = new Value(Kind.Double);
    made.number = value;
    return made;
  }

  static string(value: string): Value {
    const made = new Value(Kind.String);
    made.text = value;
    return made;
  }

  /** A JSON number that is no integer, kept as it is written. */
  static written(text: string): Value {
    const made = new Value(Kind.Double);
    made.text = text;
    return made;
  }

  get isNull(): bool { return this.kind == Kind.Null; }
  get isTrue(): bool { return this.kind == Kind.Bool && this.integer != 0; }
  get asString(): string { return this.kind == Kind.String ? this.text : ""; }

  asInt(fallback: i64 = 0): i64 { return this.kind == Kind.Int ? this.integer : fallback; }

  asDouble(fallback: f64 = 0): f64 {
    if (this.kind == Kind.Int) return f64(this.integer);
    if (this.kind != Kind.Double) return fallback;
    return this.text.length ? parseDouble(this.text) : this.number;
  }

  /** How many members an array or a map has. */
  get length(): i32 { return this.members.length; }

  /** The member of an array or a map by its place, `0 <= index < length`. */
  at(index: i32): Value { return this.members[index]; }

  /** The name of a map's member by its place. */
  nameAt(index: i32): string { return this.names[index]; }

  /** A map's member by its name. */
  get(name: string): Value {
    const index = this.names.indexOf(name);
    return index < 0 ? Value.null() : this.members[index];
  }

  /** Puts a member into a map. Returns the map. */
  put(name: string, value: Value): Value {
    const index = this.names.indexOf(name);
    if (index < 0) this.addNamed(name, value);
    else this.members[index] = value;
    return this;
  }

  /** Puts a text into a map. Returns the map. */
  set(name: string, value: string): Value { return this.put(name, Value.string(value)); }

  /** Appends to an array. Returns the array. */
  push(value: Value): Value {
    if (this.kind != Kind.Array) unreachable();
    this.members.push(value);
    return this;
  }

  /** Appends to a map a name that it does not have. */
  addNamed(name: string, value: Value): void {
    if (this.kind != Kind.Map) unreachable();
    this.names.push(name);
    this.members.push(value);
  }

  toJson(): string { return String.UTF8.decode(encode(this, false)); }

  /** The JSON text of a number. */
  get numeral(): string {
    if (this.kind == Kind.Int) return this.integer.toString();
    if (this.text.length) return this.text;
    if (!isFinite(this.number)) return "null"; // JSON has no other word for it
    return reinterpret<u64>(this.number) == 1 << 63 ? "-0.0" : this.number.toString();
  }

  /** A value from JSON; Null when the text is none. */
  static fromJson(text: string): Value {
    const bytes = String.UTF8.encode(text);
    return decode(changetype<usize>(bytes), bytes.byteLength, false);
  }
}

// ---- the job and its outcome: ABI.md §3 ----

export class Job {
  constructor(
    /** The whole map `job`: retries, deadline_ms, headers, ... */
    readonly info: Value,
    /** Plain values by name. */
    readonly variables: Value,
    /** Types of those that need one, such as Long. */
    readonly types: Value,
  ) {}

  /** The same for every try: the idempotency key of all that the worker does. */
  get key(): string { return this.info.get("key").asString; }

  get topic(): string { return this.info.get("topic").asString; }

  /** A variable's text, or "". */
  text(name: string): string { return this.variables.get(name).asString; }
}

export class Outcome {
  private constructor(private readonly name: string, private readonly fields: Value) {}

  static completed(variables: Value): Outcome {
    return new Outcome("completed", Value.map()).with("variables", variables);
  }

  static bpmnError(code: string, message: string, variables: Value = Value.map()): Outcome {
    const fields = Value.map().set("code", code).set("message", message);
    return new Outcome("bpmn_error", fields).with("variables", variables);
  }

  static failed(message: string): Outcome {
    return new Outcome("failed", Value.map().set("message", message));
  }

  /** Adds an optional field: `types`; or `retries`, `backoff_ms` or `details` to a failure. */
  with(field: string, value: Value): Outcome {
    this.fields.put(field, value);
    return this;
  }

  /** An outcome that another service answered. */
  static from(name: string, fields: Value): Outcome { return new Outcome(name, fields); }

  get envelope(): Value { return Value.map().put(this.name, this.fields); }
}

// ---- the host: ABI.md §1 and §4 ----

export enum Level { Debug, Info, Warning, Error }

export enum Code {
  Ok = 0,
  Unknown = -1,
  Denied = -2,
  BadRequest = -3,
  Deadline = -4,
  Unavailable = -5,
  TooLarge = -6,
  Host = -7,
}

export function log(level: i32, line: string): void {
  const bytes = String.UTF8.encode(line);
  hostLog(level, changetype<usize>(bytes), bytes.byteLength);
}

export function nowMs(): i64 { return hostNow(); }

export function random(length: i32): StaticArray<u8> {
  const bytes = new StaticArray<u8>(length);
  hostRandom(changetype<usize>(bytes), length);
  return bytes;
}

export class Reply {
  constructor(
    readonly code: i32,
    /** A sentence for a person, unless the code is Ok. */
    readonly message: string,
    /** A map, when the code is Ok. */
    readonly value: Value,
  ) {}
}

export function call(operation: string, request: Value): Reply {
  const op = String.UTF8.encode(operation);
  const input = encode(request, asMsgpack);
  const length = hostCall(
    changetype<usize>(op), op.byteLength, changetype<usize>(input), input.byteLength,
  );
  const waiting = new ArrayBuffer(length < 0 ? MESSAGE_BYTES_MAX : length);
  const at = changetype<usize>(waiting);
  const taken = hostTake(at, waiting.byteLength);
  if (length >= 0) return new Reply(Code.Ok, "", decode(at, taken, asMsgpack));
  return new Reply(max(length, Code.Host), String.UTF8.decodeUnsafe(at, taken), Value.null());
}

/** config.get: what this node's configuration says, or "". */
export function config(name: string): string {
  return call("config.get", Value.map().set("name", name)).value.get("value").asString;
}

/** secrets.get: a password or token that the node grants, or "". What the host logs of this worker
 * has it blacked out; do not let it into variables. */
export function secret(name: string): string {
  return call("secrets.get", Value.map().set("name", name)).value.get("value").asString;
}

/** Writes whatever is there. */
export const ANY_VERSION: i64 = -1;

export class Entry {
  constructor(
    readonly code: i32,
    readonly message: string,
    /** kvPut and kvDelete: whether it was. */
    readonly done: bool,
    /** That the key has now, 0 when there is no such key. */
    readonly version: i64,
    /** kvGet: Null when there is none. */
    readonly value: Value,
  ) {}
}

function kv(operation: string, done: string, request: Value, ifVersion: i64): Entry {
  if (ifVersion != ANY_VERSION) request.put("if_version", Value.int(ifVersion));
  const reply = call(operation, request);
  return new Entry(
    reply.code,
    reply.message,
    reply.value.get(done).isTrue,
    reply.value.get("version").asInt(),
    reply.value.get("value"),
  );
}

/** kv: what this service keeps on this node, from job to job. */
export function kvGet(key: string): Entry {
  return kv("kv.get", "", Value.map().set("key", key), ANY_VERSION);
}

/** Returns when it is on the disk. Any other version than ANY_VERSION writes only while the key
 * still has it, 0 only while there is no such key; when it is not `done`, get and try again. */
export function kvPut(key: string, value: Value, ifVersion: i64 = ANY_VERSION): Entry {
  return kv("kv.put", "stored", Value.map().set("key", key).put("value", value), ifVersion);
}

export function kvDelete(key: string, ifVersion: i64 = ANY_VERSION): Entry {
  return kv("kv.delete", "deleted", Value.map().set("key", key), ifVersion);
}

/** Up to 100 keys that begin so and come after another one: `keys`, an array, and `more`. */
export function kvList(prefix: string, after: string = ""): Reply {
  return call("kv.list", Value.map().set("prefix", prefix).set("after", after));
}

export class Answer {
  constructor(
    /** Ok when the server answered, whatever its status. */
    readonly code: i32,
    readonly message: string,
    /** The HTTP status, 0 without an answer. */
    readonly status: i32,
    /** The answer's JSON; Null when it is none. */
    readonly body: Value,
  ) {}
}

/** http.fetch with JSON both ways. */
export function fetch(
  method: string, url: string, idempotencyKey: string = "", body: Value = Value.null(),
): Answer {
  const headers = Value.map();
  const request = Value.map().set("method", method).set("url", url).put("headers", headers);
  if (idempotencyKey.length) headers.set("idempotency-key", idempotencyKey);
  if (!body.isNull) {
    headers.set("content-type", "application/json");
    request.set("body", body.toJson());
  }
  const reply = call("http.fetch", request);
  return new Answer(
    reply.code,
    reply.message,
    i32(reply.value.get("status").asInt()),
    Value.fromJson(reply.value.get("body").asString),
  );
}

export class Rpc {
  constructor(
    /** Ok when the server gave a status, whichever. */
    readonly code: i32,
    /** A sentence, the server's or the host's, unless all went well. */
    readonly message: string,
    /** gRPC's name: "OK", "NOT_FOUND", ...; "" without one. */
    readonly status: string,
    /** The answer: a map, or an array of them from a stream. */
    readonly body: Value,
  ) {}
}

/** grpc.call of "package.Service/Method". */
export function grpc(method: string, request: Value = Value.map()): Rpc {
  const reply = call("grpc.call", Value.map().set("method", method).put("request", request));
  const many = reply.value.get("responses");
  return new Rpc(
    reply.code,
    reply.code ? reply.message : reply.value.get("message").asString,
    reply.value.get("status").asString,
    many.isNull ? reply.value.get("response") : many,
  );
}

export class Called {
  constructor(
    /** Ok when there is an outcome, whichever. */
    readonly code: i32,
    /** A sentence, the outcome's or the host's, unless it completed. */
    readonly message: string,
    /** "completed", "bpmn_error" or "failed"; "" without an outcome. */
    readonly kind: string,
    private readonly fields: Value,
  ) {}

  get completed(): bool { return this.kind == "completed"; }

  /** The code of its BPMN error, or "". */
  get error(): string { return this.fields.get("code").asString; }

  /** Its outputs. */
  get variables(): Value { return this.fields.get("variables"); }

  /** To end as the called service did; a failure where there was no outcome. */
  get outcome(): Outcome {
    if (this.kind.length) return Outcome.from(this.kind, this.fields);
    return Outcome.failed(this.message);
  }
}

/** service.call: another service's outcome, wherever in the mesh it runs. */
export function callService(
  service: string, variables: Value = Value.map(), version: string = "",
): Called {
  const request = Value.map().set("service", service).put("variables", variables);
  if (version.length) request.set("version", version);
  const reply = call("service.call", request);
  const kinds: string[] = ["completed", "bpmn_error", "failed"];
  for (let i = 0; i < kinds.length; i++) {
    const fields = reply.value.get(kinds[i]);
    if (!fields.isNull) {
      return new Called(reply.code, fields.get("message").asString, kinds[i], fields);
    }
  }
  return new Called(reply.code, reply.message, "", Value.null());
}

/** job.progress: how far this job is, 0 to 1, and what it does now, for people who look on. */
export function progress(done: f64, sentence: string = ""): void {
  call("job.progress", Value.map().put("done", Value.double(done)).set("sentence", sentence));
}

// ---- reading ----

class Reader {
  broken: bool = false;

  constructor(private at: usize, private readonly end: usize) {}

  /** The whole input as one value, or Null. */
  all(msgpack: bool): Value {
    const value = msgpack ? this.msgpack(0) : this.json(0);
    if (!msgpack) this.skipSpace();
    return this.broken || this.at != this.end ? Value.null() : value;
  }

  private refuse(): Value {
    this.broken = true;
    this.at = this.end;
    return Value.null();
  }

  /** The next byte, or 0 at the end, where nothing may be 0. */
  private get peek(): u32 { return this.at < this.end ? load<u8>(this.at) : 0; }

  private skipSpace(): void {
    for (let c = this.peek; c == 0x20 || c == 0x09 || c == 0x0a || c == 0x0d; c = this.peek)
      this.at++;
  }

  private accept(wanted: u32): bool {
    this.skipSpace();
    if (this.peek != wanted) return false;
    this.at++;
    return true;
  }

  private json(depth: i32): Value {
    this.skipSpace();
    const c = this.peek;
    if (c == 0x22 /* " */) {
      this.at++;
      return Value.string(this.jsonString());
    }
    if (c == 0x2d /* - */ || isDigit(c)) return this.jsonNumber();
    const map = c == 0x7b; /* { */
    if (!map && c != 0x5b /* [ */) return this.jsonWord();
    if (depth == DEPTH_MAX) return this.refuse();
    this.at++;
    const close = c + 2;
    const made = map ? Value.map() : Value.array();
    if (this.accept(close)) return made;
    do {
      if (map) {
        if (!this.accept(0x22)) return this.refuse();
        const name = this.jsonString();
        if (!this.accept(0x3a /* : */)) return this.refuse();
        made.addNamed(name, this.json(depth + 1));
      } else {
        made.push(this.json(depth + 1));
      }
    } while (this.accept(0x2c /* , */));
    return this.accept(close) ? made : this.refuse();
  }

  private jsonWord(): Value {
    if (this.word("null")) return Value.null();
    if (this.word("true")) return Value.bool(true);
    return this.word("false") ? Value.bool(false) : this.refuse();
  }

  private word(text: string): bool {
    for (let i = 0; i < text.length; i++) {
      if (this.at + i >= this.end || load<u8>(this.at + i) != text.charCodeAt(i)) return false;
    }
    this.at += text.length;
    return true;
  }

  /** After the opening quote. */
  private jsonString(): string {
    let text = "";
    let from = this.at;
    while (true) {
      const c = this.peek;
      if (c < 0x20) {
        this.refuse();
        return "";
      }
      if (c != 0x22 && c != 0x5c /* \ */) {
        this.at++;
        continue;
      }
      text += String.UTF8.decodeUnsafe(from, this.at - from);
      this.at++;
      if (c == 0x22) return text;
      text += this.jsonEscape();
      from = this.at;
    }
  }

  private jsonEscape(): string {
    const c = this.peek;
    this.at++;
    if (c != 0x75 /* u */) {
      const index = '"\\/bfnrt'.indexOf(String.fromCharCode(c));
      if (index < 0) this.refuse();
      return '"\\/\b\f\n\r\t'.charAt(index);
    }
    const unit = this.hex4();
    if (unit < 0xd800 || unit > 0xdfff) return String.fromCharCode(unit);
    if (unit > 0xdbff || !this.word("\\u")) return this.halfPair();
    const low = this.hex4();
    if (low < 0xdc00 || low > 0xdfff) return this.halfPair();
    return String.fromCharCode(unit, low);
  }

  private halfPair(): string {
    this.refuse();
    return "";
  }

  private hex4(): i32 {
    let unit = 0;
    for (let i = 0; i < 4; i++) {
      const c = this.peek;
      const letter = c | 32;
      if (isDigit(c)) unit = (unit << 4) | (c - 0x30);
      else if (letter >= 0x61 && letter <= 0x66) unit = (unit << 4) | (letter - 0x57);
      else {
        this.refuse();
        return 0;
      }
      this.at++;
    }
    return unit;
  }

  private skipDigits(): bool {
    if (!isDigit(this.peek)) return false;
    while (isDigit(this.peek)) this.at++;
    return true;
  }

  private jsonNumber(): Value {
    const start = this.at;
    const negative = this.peek == 0x2d;
    if (negative) this.at++;
    const digits = this.at;
    if (!this.skipDigits() || (load<u8>(digits) == 0x30 && this.at - digits > 1))
      return this.refuse();
    const digitsEnd = this.at;
    if (this.peek == 0x2e /* . */) {
      this.at++;
      if (!this.skipDigits()) return this.refuse();
    }
    if ((this.peek | 32) == 0x65 /* e */) {
      this.at++;
      if (this.peek == 0x2b || this.peek == 0x2d) this.at++;
      if (!this.skipDigits()) return this.refuse();
    }
    if (this.at != digitsEnd)
      return Value.written(String.UTF8.decodeUnsafe(start, this.at - start));
    const limit = u64(i64.MAX_VALUE) + u64(negative);
    let value: u64 = 0;
    for (let at = digits; at < digitsEnd; at++) {
      const digit = u64(load<u8>(at) - 0x30);
      if (value > (limit - digit) / 10) return this.refuse();
      value = value * 10 + digit;
    }
    return Value.int(negative ? -i64(value) : i64(value));
  }

  private bigEndian(bytes: u32): u64 {
    if (this.end - this.at < bytes) {
      this.refuse();
      return 0;
    }
    let value: u64 = 0;
    for (let i: u32 = 0; i < bytes; i++) value = (value << 8) | load<u8>(this.at++);
    return value;
  }

  private msgpackText(length: u64): string {
    if (u64(this.end - this.at) < length) {
      this.refuse();
      return "";
    }
    const text = String.UTF8.decodeUnsafe(this.at, usize(length));
    this.at += usize(length);
    return text;
  }

  private msgpackMembers(map: bool, count: u64, depth: i32): Value {
    if (depth == DEPTH_MAX) return this.refuse();
    const made = map ? Value.map() : Value.array();
    for (; count && !this.broken; count--) {
      if (map) {
        const name = this.msgpack(depth + 1);
        if (name.kind != Kind.String) return this.refuse();
        made.addNamed(name.asString, this.msgpack(depth + 1));
      } else {
        made.push(this.msgpack(depth + 1));
      }
    }
    return made;
  }

  /** The first byte says kind and width: the msgpack specification, "Formats". */
  private msgpack(depth: i32): Value {
    if (this.at == this.end) return this.refuse();
    const c = <u32>load<u8>(this.at++);
    if (c < 0x80) return Value.int(c);
    if (c < 0x90) return this.msgpackMembers(true, c & 15, depth);
    if (c < 0xa0) return this.msgpackMembers(false, c & 15, depth);
    if (c < 0xc0) return Value.string(this.msgpackText(c & 31));
    if (c >= 0xe0) return Value.int(i64(i8(c)));
    switch (c) {
      case 0xc0: return Value.null();
      case 0xc2: return Value.bool(false);
      case 0xc3: return Value.bool(true);
      case 0xca: return Value.double(f64(reinterpret<f32>(u32(this.bigEndian(4)))));
      case 0xcb: return Value.double(reinterpret<f64>(this.bigEndian(8)));
      case 0xcc: case 0xcd: case 0xce: case 0xcf: {
        const value = this.bigEndian(1 << (c - 0xcc));
        return value > u64(i64.MAX_VALUE) ? this.refuse() : Value.int(i64(value));
      }
      case 0xd0: return Value.int(i64(i8(this.bigEndian(1))));
      case 0xd1: return Value.int(i64(i16(this.bigEndian(2))));
      case 0xd2: return Value.int(i64(i32(this.bigEndian(4))));
      case 0xd3: return Value.int(i64(this.bigEndian(8)));
      case 0xd9: case 0xda: case 0xdb:
        return Value.string(this.msgpackText(this.bigEndian(1 << (c - 0xd9))));
      case 0xdc: return this.msgpackMembers(false, this.bigEndian(2), depth);
      case 0xdd: return this.msgpackMembers(false, this.bigEndian(4), depth);
      case 0xde: return this.msgpackMembers(true, this.bigEndian(2), depth);
      case 0xdf: return this.msgpackMembers(true, this.bigEndian(4), depth);
      default: return this.refuse(); // bin and ext are not used
    }
  }
}

function isDigit(c: u32): bool { return c >= 0x30 && c <= 0x39; }

function decode(at: usize, length: i32, msgpack: bool): Value {
  return new Reader(at, at + length).all(msgpack);
}

// ---- doubles ----
//
// The standard library's parseFloat loses the exponent of long numbers (0.28.20), so: a 128-bit
// mantissa, multiplied or divided by ten once per decimal place. Each step is off by less than
// 2^-124, so all is right that does not lie about that close to the middle between two doubles.
// Subnormals are rounded twice.

/** mantissa * 2^exponent. The mantissa has its lowest limb first, and its top bit is set. */
class Wide {
  private limbs: StaticArray<u32> = new StaticArray<u32>(4);
  private exponent: i32;

  constructor(digits: u64) {
    const shift = clz(digits);
    digits <<= shift;
    this.limbs[2] = u32(digits);
    this.limbs[3] = u32(digits >> 32);
    this.exponent = -64 - i32(shift);
  }

  timesTen(): void {
    const limbs = this.limbs;
    let carry: u64 = 0;
    for (let i = 0; i < 4; i++) {
      carry += u64(limbs[i]) * 10;
      limbs[i] = u32(carry);
      carry >>= 32;
    }
    const shift = 64 - clz(carry); // the carry is 5 to 9
    for (let i = 3; i >= 0; i--) {
      carry = (carry << 32) | limbs[i];
      limbs[i] = u32(carry >> shift);
    }
    this.exponent += i32(shift);
  }

  divideByTen(): void {
    const limbs = this.limbs;
    let rest: u64 = 0;
    for (let i = 3; i >= 0; i--) {
      rest = (rest << 32) | limbs[i];
      limbs[i] = u32(rest / 10);
      rest %= 10;
    }
    const shift = clz(limbs[3]);
    for (let i = 3; i > 0; i--) {
      limbs[i] = u32((((u64(limbs[i]) << 32) | limbs[i - 1]) << shift) >> 32);
    }
    limbs[0] <<= shift;
    this.exponent -= i32(shift);
  }

  get double(): f64 {
    const limbs = this.limbs;
    const more = u64((limbs[0] | limbs[1]) != 0);
    let value = f64((u64(limbs[3]) << 32) | limbs[2] | more); // rounds to 53 bits
    let exponent = this.exponent + 64;
    for (; exponent > 1000; exponent -= 1000) value *= twoToThe(1000);
    for (; exponent < -1000; exponent += 1000) value *= twoToThe(-1000);
    return value * twoToThe(exponent);
  }
}

/** -1022 <= exponent <= 1023. */
function twoToThe(exponent: i32): f64 { return reinterpret<f64>(u64(exponent + 1023) << 52); }

/** A JSON number that has been checked. Digits past the 19th only move the point. */
function parseDouble(text: string): f64 {
  const negative = text.charCodeAt(0) == 0x2d;
  let digits: u64 = 0;
  let exponent = 0;
  let places = 0;
  let i = i32(negative);
  for (; i < text.length && (text.charCodeAt(i) | 32) != 0x65; i++) {
    const c = text.charCodeAt(i);
    if (c == 0x2e) {
      places = 1;
    } else if (digits < u64.MAX_VALUE / 10 - 1) {
      digits = digits * 10 + u64(c - 0x30);
      exponent -= places;
    } else {
      exponent += 1 - places;
    }
  }
  let written = 0;
  let below = false;
  for (i++; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c == 0x2d) below = true;
    else if (c != 0x2b && written < 100_000) written = written * 10 + (c - 0x30);
  }
  exponent += below ? -written : written;
  if (exponent > 400) exponent = 400; // any digit makes it infinite
  if (!digits || exponent < -400) return negative ? -0.0 : 0.0;
  const number = new Wide(digits);
  for (; exponent > 0; exponent--) number.timesTen();
  for (; exponent < 0; exponent++) number.divideByTen();
  return negative ? -number.double : number.double;
}

// ---- writing ----

class Writer {
  private bytes: ArrayBuffer = new ArrayBuffer(256);
  private length: i32 = 0;

  get written(): ArrayBuffer { return this.bytes.slice(0, this.length); }

  /** Room for `length` more bytes, which the caller fills. */
  private room(length: i32): usize {
    if (this.length + length > this.bytes.byteLength) {
      const larger = new ArrayBuffer(2 * this.length + length);
      memory.copy(changetype<usize>(larger), changetype<usize>(this.bytes), this.length);
      this.bytes = larger;
    }
    const at = changetype<usize>(this.bytes) + this.length;
    this.length += length;
    return at;
  }

  private byte(value: u32): void { store<u8>(this.room(1), value); }

  private text(text: string): void {
    const bytes = String.UTF8.encode(text);
    memory.copy(this.room(bytes.byteLength), changetype<usize>(bytes), bytes.byteLength);
  }

  private jsonString(text: string): void {
    this.byte(0x22);
    let from = 0;
    for (let i = 0; i < text.length; i++) {
      const c = text.charCodeAt(i);
      if (c >= 0x20 && c != 0x22 && c != 0x5c) continue;
      this.text(text.substring(from, i));
      from = i + 1;
      if (c >= 0x20) this.text("\\" + String.fromCharCode(c));
      else this.text("\\u00" + (c < 16 ? "0" : "") + c.toString(16));
    }
    this.text(text.substring(from));
    this.byte(0x22);
  }

  json(value: Value): void {
    switch (value.kind) {
      case Kind.Null: return this.text("null");
      case Kind.Bool: return this.text(value.isTrue ? "true" : "false");
      case Kind.Int: case Kind.Double: return this.text(value.numeral);
      case Kind.String: return this.jsonString(value.asString);
    }
    const map = value.kind == Kind.Map;
    this.byte(map ? 0x7b : 0x5b);
    for (let i = 0; i < value.length; i++) {
      if (i) this.byte(0x2c);
      if (map) {
        this.jsonString(value.nameAt(i));
        this.byte(0x3a);
      }
      this.json(value.at(i));
    }
    this.byte(map ? 0x7d : 0x5d);
  }

  private bigEndian(head: u32, value: u64, bytes: i32): void {
    this.byte(head);
    while (bytes--) this.byte(u32(value >> (8 * bytes)) & 0xff);
  }

  /** Always the widest forms: the host reads them all, and the code is short. */
  private msgpackText(text: string): void {
    this.bigEndian(0xdb, String.UTF8.byteLength(text), 4);
    this.text(text);
  }

  msgpack(value: Value): void {
    switch (value.kind) {
      case Kind.Null: return this.byte(0xc0);
      case Kind.Bool: return this.byte(value.isTrue ? 0xc3 : 0xc2);
      case Kind.Int: return this.bigEndian(0xd3, value.asInt(), 8);
      case Kind.Double: return this.bigEndian(0xcb, reinterpret<u64>(value.asDouble()), 8);
      case Kind.String: return this.msgpackText(value.asString);
    }
    const map = value.kind == Kind.Map;
    this.bigEndian(map ? 0xdf : 0xdd, value.length, 4);
    for (let i = 0; i < value.length; i++) {
      if (map) this.msgpackText(value.nameAt(i));
      this.msgpack(value.at(i));
    }
  }
}

function encode(value: Value, msgpack: bool): ArrayBuffer {
  const writer = new Writer();
  if (msgpack) writer.msgpack(value);
  else writer.json(value);
  return writer.written;
}

// ---- the module's exports ----

let work: ((job: Job) => Outcome) | null = null;
let asMsgpack: bool = false;
let input: usize = 0;
let output: ArrayBuffer = new ArrayBuffer(0); // kept here: the host reads it after `handle`

/** Names the function that works the jobs. */
export function serve(worker: (job: Job) => Outcome): void { work = worker; }

export function job_abi(): i32 { return 1 << 16; }

export function alloc(length: i32): usize {
  if (input) heap.free(input);
  input = heap.alloc(length);
  return input;
}

export function handle(at: usize, length: i32): i64 {
  asMsgpack = load<u8>(at) != 0x7b;
  const job = decode(at, length, asMsgpack);
  const info = job.get("job");
  const outcome = info.kind == Kind.Map
    ? work!(new Job(info, job.get("variables"), job.get("types")))
    : Outcome.failed("The worker could not read its input.");
  output = encode(outcome.envelope, asMsgpack);
  return (i64(changetype<usize>(output)) << 32) | output.byteLength;
}
