/** A ping every 10 ms, for as long as a test tampers with what carries it, and which of the packets were lost. */
import type { Container } from './host.ts';
import type { LabProcess } from './process.ts';

export interface StreamReport {
  readonly title: string;
  readonly sent: number;
  readonly lostCount: number;
  /** Sent after the last answer. */
  readonly unanswered: number;
  /** Every one with the time of the last answer before it, to be looked up in the agents' logs. */
  readonly lost: readonly string[];
  /** What ping said besides answers: unreachable hosts, duplicates. */
  readonly oddities: readonly string[];
}

const ANSWER = /^\[([\d.]+)\] \d+ bytes from \S+ icmp_seq=(\d+) ttl=\d+ time=[\d.]+ ms$/;
const FRAME = /^(PING .*|--- .* ---|\d+ packets transmitted.*|rtt min.*|)$/;

const SENT = /^(\d+) packets transmitted/m;

function time(seconds: string | undefined): string {
  return seconds === undefined ? 'the start' : new Date(Number(seconds) * 1000).toISOString().slice(11, 23);
}

export class PacketStream {
  readonly title: string;
  readonly #ping: LabProcess;

  private constructor(title: string, ping: LabProcess) {
    this.title = title;
    this.#ping = ping;
  }

  /** Resolves with the first answer. */
  static async start(from: Container, to: Container, family: 4 | 6 = 4): Promise<PacketStream> {
    const address = family === 4 ? to.ip : (to.ip6 ?? '');
    const ping = from.spawn('ping', ['-n', '-D', '-i', '0.01', address]);
    const stream = new PacketStream(`${from.host.name} to ${to.host.name}, IPv${family}`, ping);
    await stream.#answer();
    return stream;
  }

  /** Ends it once an answer has come, so that what is unanswered after the last answer is still on its way. */
  async stop(): Promise<StreamReport> {
    await this.#answer();
    return await this.abandon();
  }

  /** Whether an answer still comes. */
  answersWithin(ms: number): Promise<boolean> {
    return this.#answer(ms).then(
      () => true,
      () => false,
    );
  }

  /** Ends it as things stand. */
  async abandon(): Promise<StreamReport> {
    await this.#ping.stop('SIGINT');
    const lost: string[] = [];
    let lostCount = 0;
    let expected = 1;
    let before: string | undefined;
    for (const line of this.#ping.lines) {
      const [, at, sequence] = ANSWER.exec(line) ?? [];
      if (sequence === undefined) continue;
      if (Number(sequence) > expected) lost.push(`${expected} to ${Number(sequence) - 1}, after ${time(before)}`);
      lostCount += Math.max(0, Number(sequence) - expected);
      expected = Math.max(expected, Number(sequence) + 1);
      before = at;
    }
    const oddities = this.#ping.lines.filter((line) => !ANSWER.test(line) && !FRAME.test(line));
    const transmitted = Number(SENT.exec(this.#ping.lines.join('\n'))?.[1] ?? expected - 1);
    return { title: this.title, sent: expected - 1, lost, lostCount, unanswered: transmitted - expected + 1, oddities };
  }

  /** Waits for one more. */
  #answer(withinMs = 10_000): Promise<string> {
    let old = this.#ping.lines.length;
    return this.#ping.until((line) => old-- <= 0 && ANSWER.test(line), withinMs);
  }
}
