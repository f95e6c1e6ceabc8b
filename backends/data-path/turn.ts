/**
 * What came of one turn in one direction. idle: there was nothing to do; full: what is to be done waits for room at the
 * other end; refused: the device handed over nothing but errors; lost: it is not there any more.
 */
export type Turn = 'idle' | 'worked' | 'full' | 'refused' | 'lost';
