// The messages between the window and the engine.

export interface Candidate {
  text: string;
  /** 0 to 1 */
  probability: number;
}

export type Request =
  | { type: 'complete'; id: number; prompt: string; maxTokens: number; temperature: number }
  | { type: 'stop'; id: number };

export type Reply =
  | { type: 'ready'; parameterCount: number; contextLength: number }
  /** candidates: the likeliest tokens at the place of this text, the likeliest first */
  | { type: 'part'; id: number; text: string; candidates: Candidate[] }
  | { type: 'end'; id: number; reason: 'length' | 'stopped' | 'endOfText'; tokensPerSecond: number }
  | { type: 'failed'; id?: number; code: string; message: string };

/** What the preload script gives to the page. */
export interface Engine {
  send(request: Request): void;
  onReply(receive: (reply: Reply) => void): void;
}

/** What Electron's MessagePortMain and an adapter of Node's MessagePort have in common. */
export interface Port {
  on(event: 'message', receive: (event: { data: Request }) => void): void;
  postMessage(reply: Reply): void;
  start(): void;
}

declare global {
  interface Window {
    engine: Engine;
  }
}
