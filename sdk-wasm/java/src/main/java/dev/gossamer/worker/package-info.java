/**
 * Do the steps of Gossamer's workflows: jobs from Kafka, or over HTTP from a gateway.
 *
 * <p>Nothing here takes or gives {@code null}, but a handler: its payload is {@code null} where the
 * step's is, and so may be what it returns.
 */
package dev.gossamer.worker;
