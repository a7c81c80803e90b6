import { Worker } from 'gossamer-worker';

const worker = new Worker();

worker.register('step1', (payload: string) => {
    console.log('Handling step 1');
    return `Node processed: ${payload}`;
});

worker.register('step2', (payload: string) => {
    console.log('Handling step 2');
    return `Node processed again: ${payload}`;
});

worker.start();
