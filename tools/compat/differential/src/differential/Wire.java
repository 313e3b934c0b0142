package differential;

import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import org.apache.kafka.common.message.ApiMessageType;

/** One connection to one broker: frames out, frames in. What is not a frame is an answer too. */
final class Wire implements AutoCloseable {
    private static final int PATIENCE_MS = 15_000;
    private static final byte[] CLIENT_ID = "differential".getBytes();

    private final String host;
    private final int port;
    private Socket socket;
    private int correlationId;

    Wire(String address) {
        int colon = address.lastIndexOf(':');
        host = address.substring(0, colon);
        port = Integer.parseInt(address.substring(colon + 1));
    }

    /** The body of an answer, or how the broker went without one. */
    record Answer(ByteBuffer body, String otherwise) { }

    Answer exchange(ApiMessageType api, short version, byte[] body) throws IOException {
        if (socket == null) {
            socket = new Socket(host, port);
            socket.setTcpNoDelay(true);
            socket.setSoTimeout(PATIENCE_MS);
        }
        int headerVersion = api.requestHeaderVersion(version);
        int tags = headerVersion >= 2 ? 1 : 0;
        ByteBuffer frame = ByteBuffer.allocate(4 + 10 + CLIENT_ID.length + tags + body.length);
        frame.putInt(frame.capacity() - 4).putShort(api.apiKey()).putShort(version).putInt(++correlationId);
        frame.putShort((short) CLIENT_ID.length).put(CLIENT_ID);
        if (tags > 0) {
            frame.put((byte) 0);
        }
        frame.put(body);
        try {
            socket.getOutputStream().write(frame.array());
            DataInputStream input = new DataInputStream(socket.getInputStream());
            byte[] answer = new byte[input.readInt()];
            input.readFully(answer);
            ByteBuffer bytes = ByteBuffer.wrap(answer);
            if (bytes.getInt() != correlationId) {
                throw new IOException("an answer to another request");
            }
            if (api.responseHeaderVersion(version) >= 1) {
                bytes.get();
            }
            return new Answer(bytes, null);
        } catch (EOFException | SocketException closed) {
            close();
            return new Answer(null, "closes the connection");
        } catch (SocketTimeoutException silent) {
            close();
            return new Answer(null, "does not answer in " + PATIENCE_MS / 1000 + " s");
        }
    }

    @Override
    public void close() throws IOException {
        if (socket != null) {
            socket.close();
        }
        socket = null;
    }
}
