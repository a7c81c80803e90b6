/** Do the steps of Gossamer's workflows: jobs from Kafka, or over HTTP from a gateway. */
package dev.gossamer.worker;
