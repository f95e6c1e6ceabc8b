/**
 * What came of one turn in one direction. idle: there was nothing to do; full: what is to be done waits for room at the
 * other end; lost: the device is not there any more.
 */
export type Turn = 'idle' | 'worked' | 'full' | 'lost';
