package dev.gossamer.worker;

/** Where jobs come from and answers go. */
interface Jobs {
    /** Begins to take jobs. */
    void start();

    /** Takes no more; what is at work goes on. */
    void stop();

    /** After all was said, or the grace was over. */
    void close() throws InterruptedException;
}
