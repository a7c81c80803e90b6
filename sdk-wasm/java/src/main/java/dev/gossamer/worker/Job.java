package dev.gossamer.worker;

import com.fasterxml.jackson.databind.JsonNode;

/** One attempt of a step that is to be made. */
record Job(
        String run,
        String workflow,
        String step,
        int attempt,
        String action,
        JsonNode payload,
        String key,
        long dueMs) {}
