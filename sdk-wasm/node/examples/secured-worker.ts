/** Does `step1` over a Kafka with TLS and SASL. Its secrets come from the environment. */

import { readFileSync } from 'node:fs';

import { Worker } from 'gossamer-worker';

const { KAFKA_CA_FILE = '', KAFKA_MECHANISM, KAFKA_USER = '', KAFKA_PASSWORD = '' } = process.env;
const account = { username: KAFKA_USER, password: KAFKA_PASSWORD };

const worker = new Worker({
    kafkaOptions: {
        ssl: { ca: readFileSync(KAFKA_CA_FILE) },
        sasl:
            KAFKA_MECHANISM === 'PLAIN' ?
                { mechanism: 'plain', ...account }
            :   { mechanism: 'scram-sha-512', ...account },
    },
});

worker.register('step1', (payload: string) => `Node processed: ${payload}`);

worker.start();
