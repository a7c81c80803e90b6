package dev.gossamer.worker;

/**
 * How a job ended.
 *
 * @param json of its output, or of its failure
 * @param bytes of that as UTF-8
 */
record Outcome(boolean completed, String json, int bytes) {}
